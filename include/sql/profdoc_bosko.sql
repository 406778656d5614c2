-- Profdoc: every pupil who is enrolled on the day of the run, for school health, with address and guardians. A protected
-- pupil's are blanked by the layout; and where it is a guardian who is protected, address and guardians are left out too:
-- a child's record must not tell where its parent lives.
with pupil as (
    select distinct on (e.pupil) e.pupil, e.unit, e.grade, e.class, e.starts, e.ends
    from bosko.enrolment e
    cross join run
    where e.starts <= run.day and coalesce(e.ends, run.day) >= run.day
        and e.school_year = bosko.school_year(run.day)
    order by e.pupil, e.starts desc
),
guardian as (
    select
        r.personnr as child,
        bool_or(g.protected) as protected,
        array_agg(g.personnr::text order by r.no) as personnr,
        array_agg(g.efternamn order by r.no) as efternamn,
        array_agg(g.fornamn order by r.no) as fornamn,
        array_agg(c.telephone order by r.no) as telephone
    from bosko.relation r
    join bosko.person g on g.personnr = r.relation_personnr
    left join bosko.customer c on c.personnr = g.personnr
    where r.typ = 'V' and g.avregistreringsorsak is null
    group by r.personnr
),
-- Whose address and guardians may be told.
told as (
    select p.personnr, g.personnr as vh, g.efternamn, g.fornamn, g.telephone
    from bosko.person p
    left join guardian g on g.child = p.personnr
    where not coalesce(g.protected, false)
)
select
    'record' as record_type,
    p.personnr as person,
    p.protected,
    null as key,
    p.personnr,
    p.efternamn,
    concat_ws(' ', p.fornamn, p.mellannamn) as fornamn,
    case when p.protected then 'J' else 'N' end as sekretess,
    e.unit as skolenhetskod,
    u.name as skola,
    e.grade as arskurs,
    e.class as klass,
    case when t.personnr is not null then m.co end as c_o,
    case when t.personnr is not null then coalesce(m.adress2, m.adress1) end as gatuadress,
    case when t.personnr is not null then m.postnr end as postnr,
    case when t.personnr is not null then m.postort end as postort,
    coalesce(t.telephone[1], t.telephone[2]) as telefon,
    t.vh[1] as vh1_personnr, t.efternamn[1] as vh1_efternamn, t.fornamn[1] as vh1_fornamn, t.telephone[1] as vh1_telefon,
    t.vh[2] as vh2_personnr, t.efternamn[2] as vh2_efternamn, t.fornamn[2] as vh2_fornamn, t.telephone[2] as vh2_telefon,
    e.starts as startdatum,
    e.ends as slutdatum
from pupil e
join bosko.person p on p.personnr = e.pupil
join bosko.school_unit u on u.code = e.unit
join bosko.mailing m on m.personnr = p.personnr
left join told t on t.personnr = p.personnr
where p.avregistreringsorsak is null
order by p.personnr
