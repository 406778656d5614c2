-- F30: the debitings that are in no interchange that was sent or still may be. One order a customer and period: its
-- header (H), then for each debiting its item (I) and text lines (T). The text line with the child's name says of whom it
-- is; the layout blanks it when that child is protected. The pre-school's name is in no line: it tells where a child is.
with fresh as (
    select
        d.id, d.customer, d.child, d.period, d.fee_text, d.amount,
        payer.protected as payer_protected,
        child.protected as child_protected,
        child.fornamn as child_name,
        38000000 + min(d.id) over (partition by d.customer, d.period) as order_id,
        row_number() over (partition by d.customer, d.period order by d.id) as line_no
    from bosko.debiting d
    join bosko.person payer on payer.personnr = d.customer
    join bosko.person child on child.personnr = d.child
    cross join run
    where d.created_at <= run.now
        and not exists (select from sent where sent.integration = 'f30' and sent.key = d.id::text)
),
lines as (
    select
        'H' as record_type, order_id, 0 as line_no, null::integer as sequence_no,
        customer as person, payer_protected as protected, null::bigint as key,
        customer as ext_ord_ref, period, null::numeric as amount, null as art_descr, null as short_info
    from fresh where line_no = 1
    union all
    select 'I', order_id, line_no, 0, customer, payer_protected, id, null, period, amount, fee_text, null
    from fresh
    union all
    select 'T', order_id, line_no, 1, child, child_protected, null, null, null, null, null, 'Avser ' || child_name
    from fresh
    union all
    select 'T', order_id, line_no, 2, null, false, null, null, null, null, null,
        'Period ' || left(period::text, 4) || '-' || right(period::text, 2)
    from fresh
)
select
    l.record_type,
    l.person,
    l.protected,
    l.key::text as key,
    'FD' || to_char(run.day, 'YYMMDD') as batch_id,
    'ST' as client,
    l.order_id,
    l.line_no,
    l.sequence_no,
    l.ext_ord_ref,
    l.period,
    l.amount,
    case l.record_type when 'I' then '1' end as amount_set,
    case l.record_type when 'I' then 'FSKAVG' end as article,
    l.art_descr,
    case l.record_type when 'I' then 1.00 end as value_1,
    l.short_info,
    case l.record_type when 'H' then 'SEK' end as currency,
    case l.record_type when 'H' then run.day end as confirm_date,
    case l.record_type when 'H' then run.day end as deliv_date,
    case l.record_type when 'H' then 'FS' end as order_type,
    case l.record_type when 'H' then 'IP' end as pay_method,
    case l.record_type when 'H' then 'BOSKO' end as responsible,
    case when l.record_type <> 'T' then 'N' end as status,
    '42' as trans_type,
    'FU' as voucher_type
from lines l
cross join run
order by l.order_id, l.line_no, l.sequence_no nulls first
