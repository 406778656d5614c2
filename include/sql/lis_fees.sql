-- LIS, the second of two files: which fee each of those places has on the reading date.
select
    'record' as record_type,
    p.personnr as person,
    p.protected,
    null as key,
    run.day as avlasningsdatum,
    p.personnr,
    pl.unit as skola,
    pl.child_group as grupp,
    pl.form,
    pl.starts as placeringsdatum,
    f.category as taxekategori,
    f.valid_from as giltig_from,
    f.valid_to as giltig_tom
from bosko.placement pl
join bosko.person p on p.personnr = pl.child
cross join run
join bosko.placement_fee f
    on f.placement = pl.id and f.valid_from <= run.day and coalesce(f.valid_to, run.day) >= run.day
where pl.starts <= run.day and coalesce(pl.ends, run.day) >= run.day
order by p.personnr, pl.starts, pl.id
