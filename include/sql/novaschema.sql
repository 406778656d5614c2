-- Novaschema: one course group of one school in one month, as a form has ordered it: its teacher, the group, who is in it
-- with all of their groups, its subject, and their absence from its lessons. Reads the temporary relation form (school,
-- course_group, period: YYYY-MM).
with month as (
    select f.school, f.course_group, d.first, (d.first + interval '1 month' - interval '1 day')::date as last
    from form f
    cross join lateral (select to_date(f.period || '-01', 'YYYY-MM-DD') as first) d
),
ordered as (
    select g.*, month.first, month.last
    from month
    join hanna.course_group g on g.school = month.school and g.code = month.course_group
),
member as (
    select distinct m.pupil
    from ordered o
    join hanna.member m on m.school = o.school and m.course_group = o.code
    where m.starts <= o.last and coalesce(m.ends, o.last) >= o.first
),
lines as (
    select
        1 as part, 'teacher' as record_type, null as person, false as protected, t.signature as signatur,
        t.efternamn, t.fornamn, null as grupp, null as kurs, null as personnr, null as klass, null as kursgrupper,
        null as amne, null as namn, null::date as datum, null::integer as minuter, null as giltig
    from ordered o
    join hanna.teacher t on t.school = o.school and t.signature = o.teacher
    union all
    select 2, 'group', null, false, null, null, null, o.code, o.course, null, null, null, null, null, null, null, null
    from ordered o
    union all
    select
        3, 'student', p.personnr, p.protected, null, p.efternamn, p.fornamn, null, null, p.personnr, p.class,
        (
            select string_agg(distinct m.course_group, ',' order by m.course_group)
            from hanna.member m
            where m.pupil = p.personnr and m.starts <= o.last and coalesce(m.ends, o.last) >= o.first
        ),
        null, null, null, null, null
    from ordered o
    cross join member
    join hanna.pupil p on p.personnr = member.pupil
    union all
    select 4, 'subject', null, false, null, null, null, null, null, null, null, null, s.code, s.name, null, null, null
    from ordered o
    join hanna.subject s on s.code = o.subject
    union all
    select
        5, 'absence', p.personnr, p.protected, null, null, null, o.code, null, p.personnr, null, null, null, null, a.day,
        a.minutes, case when a.valid then 'J' else 'N' end
    from ordered o
    join hanna.absence a on a.school = o.school and a.course_group = o.code and a.day between o.first and o.last
    join hanna.pupil p on p.personnr = a.pupil
)
select
    record_type, person, protected, null as key, signatur, efternamn, fornamn, grupp, kurs, personnr, klass, kursgrupper,
    amne, namn, datum, minuter, giltig
from lines
order by part, personnr, datum, signatur
