-- H45: the lines of general-ledger vouchers that are in no interchange that was sent or still may be. A voucher's lines
-- come together, in its order. Amounts are signed, and dc_flag says it again: 1 debit, -1 credit.
select
    'voucher' as record_type,
    null as person,
    false as protected,
    p.id::text as key,
    'H45' || to_char(run.day, 'YYMMDD') as batch_id,
    'BOSKO' as interface,
    'HB' as voucher_type,
    'GL' as trans_type,
    'ST' as client,
    p.account,
    p.unit as dim_1,
    p.activity as dim_2,
    '0' as tax_code,
    'SEK' as currency,
    sign(p.amount)::integer as dc_flag,
    p.amount as cur_amount,
    p.amount,
    p.description,
    p.voucher_date as trans_date,
    p.voucher_date,
    p.voucher_no,
    to_char(p.voucher_date, 'YYYYMM') as period,
    'N' as status
from bosko.posting p
cross join run
where p.created_at <= run.now
    and not exists (select from sent where sent.integration = 'h45' and sent.key = p.id::text)
order by p.voucher_no, p.id
