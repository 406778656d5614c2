-- Ergo: every pupil who is enrolled on the day of the run, once: of two enrolments the later one holds.
select distinct on (e.pupil)
    'record' as record_type,
    p.personnr as person,
    p.protected,
    null as key,
    p.personnr,
    concat_ws(' ', p.fornamn, p.mellannamn) as fornamn,
    p.efternamn || ', ' || p.fornamn as namn,
    e.unit as skol_id,
    e.grade as arskurs,
    e.class as klass
from bosko.enrolment e
join bosko.person p on p.personnr = e.pupil
cross join run
where e.starts <= run.day and coalesce(e.ends, run.day) >= run.day
    and e.school_year = bosko.school_year(run.day)
    and p.avregistreringsorsak is null
order by e.pupil, e.starts desc
