-- F30: the debitings for pre-school that are in no interchange that was sent or still may be. The lines of an order are
-- bosko.invoice_lines'.
with fresh as (
    select coalesce(array_agg(d.id), '{}') as ids
    from bosko.debiting d
    cross join run
    where d.area = 'preschool' and d.created_at <= run.now
        and not exists (select from sent where sent.integration = 'f30' and sent.key = d.id::text)
)
select
    l.*,
    'FD' || to_char(run.day, 'YYMMDD') as batch_id,
    'ST' as client,
    case l.record_type when 'I' then '1' end as amount_set,
    case l.record_type when 'I' then 'FSKAVG' end as article,
    case l.record_type when 'I' then 1.00 end as value_1,
    case l.record_type when 'H' then 'SEK' end as currency,
    case l.record_type when 'H' then run.day end as confirm_date,
    case l.record_type when 'H' then run.day end as deliv_date,
    case l.record_type when 'H' then 'FS' end as order_type,
    case l.record_type when 'H' then 'IP' end as pay_method,
    case l.record_type when 'H' then 'BOSKO' end as responsible,
    case when l.record_type <> 'T' then 'N' end as status,
    '42' as trans_type,
    'FU' as voucher_type
from fresh
cross join run
cross join lateral bosko.invoice_lines(fresh.ids) l
order by l.order_id, l.line_no, l.sequence_no nulls first
