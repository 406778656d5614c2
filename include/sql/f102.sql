-- F102: customers of school-age care that are new or changed since the last delivered F102, and all of this morning's
-- F103 and F104.
-- bosko.mailing is the särskild postadress if there is one, else the home address. A protected payer has only the former,
-- Skatteverket's forwarding address: the home address never leaves BoSko.
with morning as (
    select distinct d.customer
    from bosko.debiting d
    cross join run
    where d.area = 'leisure' and d.created_at <= run.now
        and not exists (
            select from sent where sent.integration in ('f103', 'f104') and sent.key = d.id::text
        )
)
select
    'customer' as record_type,
    p.personnr as person,
    p.protected,
    null as key,
    '10' as apar_gr_id,
    row_number() over (order by p.personnr)::text as apar_id,
    concat_ws(' ', p.fornamn, p.mellannamn, p.efternamn) as apar_name,
    'ST' as client,
    p.personnr as comp_reg_no,
    'SEK' as currency,
    'IP' as pay_method,
    '.' as short_name,
    m.adress2 as address1,
    m.adress1 as address2,
    m.co as address3,
    m.postort as address4,
    m.postnr as zip_code,
    'SE' as country_code,
    c.telephone as telephone_1,
    c.e_mail
from bosko.customer c
join bosko.person p on p.personnr = c.personnr
join bosko.mailing m on m.personnr = c.personnr
cross join run
where (c.leisure and greatest(c.changed_at, p.changed_at) > run.since and greatest(c.changed_at, p.changed_at) <= run.now)
    or c.personnr in (select customer from morning)
order by p.personnr
