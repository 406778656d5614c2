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
    case when g.told then m.co end as c_o,
    case when g.told then coalesce(m.adress2, m.adress1) end as gatuadress,
    case when g.told then m.postnr end as postnr,
    case when g.told then m.postort end as postort,
    case when g.told then coalesce(g.telephone[1], g.telephone[2]) end as telefon,
    case when g.told then g.personnr[1] end as vh1_personnr,
    case when g.told then g.efternamn[1] end as vh1_efternamn,
    case when g.told then g.fornamn[1] end as vh1_fornamn,
    case when g.told then g.telephone[1] end as vh1_telefon,
    case when g.told then g.personnr[2] end as vh2_personnr,
    case when g.told then g.efternamn[2] end as vh2_efternamn,
    case when g.told then g.fornamn[2] end as vh2_fornamn,
    case when g.told then g.telephone[2] end as vh2_telefon,
    e.starts as startdatum,
    e.ends as slutdatum
from pupil e
join bosko.person p on p.personnr = e.pupil
join bosko.school_unit u on u.code = e.unit
join bosko.mailing m on m.personnr = p.personnr
cross join lateral (
    select
        not coalesce(bool_or(o.protected), false) as told,
        array_agg(o.personnr::text order by r.no) as personnr,
        array_agg(o.efternamn order by r.no) as efternamn,
        array_agg(o.fornamn order by r.no) as fornamn,
        array_agg(c.telephone order by r.no) as telephone
    from bosko.relation r
    join bosko.person o on o.personnr = r.relation_personnr
    left join bosko.customer c on c.personnr = o.personnr
    where r.personnr = p.personnr and r.typ = 'V' and o.avregistreringsorsak is null
) g
where p.avregistreringsorsak is null
order by p.personnr
