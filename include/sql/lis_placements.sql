-- LIS, the first of two files: the places in child care on the reading date, which is the day of the run.
select
    'record' as record_type,
    p.personnr as person,
    p.protected,
    null as key,
    run.day as avlasningsdatum,
    p.personnr,
    pl.unit as skol_id,
    pl.child_group as grupp_id,
    pl.form as verksamhetsform,
    pl.starts as startdatum,
    pl.ends as slutdatum
from bosko.placement pl
join bosko.person p on p.personnr = pl.child
cross join run
where pl.starts <= run.day and coalesce(pl.ends, run.day) >= run.day
order by p.personnr, pl.starts, pl.id
