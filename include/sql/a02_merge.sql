-- A02 into BoSko's copy of the customer ledger: one file, one transaction. Reads the temporary relations incoming (the
-- stage), file and run.
--
-- A file that was merged before changes nothing. An item changes only by a file that is not older than what told of it
-- last: by day, and within a day by Agresso's running number. What tells nothing new leaves changed_at as it was. An item
-- that isn't in the file stays as is: it was closed before, and is told of no more.

-- One merge at a time: what this one compares with doesn't change under it.
select pg_advisory_xact_lock(hashtext('bosko.receivable_load'));

create temporary table told on commit drop as
with numbered as (
    select i.*, (select (header ->> 'lopnummer')::integer from file) as file_no
    from incoming i
    where i.record_type = 'post'
        and not exists (select from bosko.receivable_load l join file on file.interchange = l.interchange)
)
-- Of two posts of an item the later one holds.
select distinct on (n.client, n.voucher_type, n.voucher_no, n.sequence_no)
    n.client, coalesce(n.voucher_type, '') as voucher_type, coalesce(n.voucher_no, 0) as voucher_no,
    coalesce(n.sequence_no, 0) as sequence_no, n.kund_id as customer, n.apar_id, n.order_id, n.ext_ord_ref,
    n.fakturadatum as invoice_date, n.forfallodatum as due_date, n.belopp as amount, n.restbelopp as rest, n.status,
    n.senaste_betaldatum as paid_on, coalesce(n.kravniva, 0) as reminder_level, n.kravdatum as reminded_on,
    n.ocr_referens as ocr, n.file_no
from numbered n
order by n.client, n.voucher_type, n.voucher_no, n.sequence_no, n.record_no desc;

create temporary table compared on commit drop as
select
    t.*,
    r.client is null as is_new,
    coalesce((r.as_of, r.file_no) > (file.effective, t.file_no), false) as is_older,
    (
        t.customer, t.apar_id, t.order_id, t.ext_ord_ref, t.invoice_date, t.due_date, t.amount, t.rest, t.status,
        t.paid_on, t.reminder_level, t.reminded_on, t.ocr
    ) is distinct from (
        r.customer, r.apar_id, r.order_id, r.ext_ord_ref, r.invoice_date, r.due_date, r.amount, r.rest, r.status,
        r.paid_on, r.reminder_level, r.reminded_on, r.ocr
    ) as is_changed,
    coalesce(r.status, '') as was
from told t
cross join file
left join bosko.receivable r using (client, voucher_type, voucher_no, sequence_no);

insert into bosko.receivable as r (
    client, voucher_type, voucher_no, sequence_no, customer, apar_id, order_id, ext_ord_ref, invoice_date, due_date,
    amount, rest, status, paid_on, reminder_level, reminded_on, ocr, as_of, file_no, loaded_by, changed_at
)
select
    c.client, c.voucher_type, c.voucher_no, c.sequence_no, c.customer, c.apar_id, c.order_id, c.ext_ord_ref,
    c.invoice_date, c.due_date, c.amount, c.rest, c.status, c.paid_on, c.reminder_level, c.reminded_on, c.ocr,
    file.effective, c.file_no, file.interchange, run.now
from compared c
cross join file
cross join run
where not c.is_older
on conflict (client, voucher_type, voucher_no, sequence_no) do update
set (
    customer, apar_id, order_id, ext_ord_ref, invoice_date, due_date, amount, rest, status, paid_on, reminder_level,
    reminded_on, ocr, as_of, file_no, loaded_by, changed_at
) = (
    excluded.customer, excluded.apar_id, excluded.order_id, excluded.ext_ord_ref, excluded.invoice_date,
    excluded.due_date, excluded.amount, excluded.rest, excluded.status, excluded.paid_on, excluded.reminder_level,
    excluded.reminded_on, excluded.ocr, excluded.as_of, excluded.file_no, excluded.loaded_by,
    case
        when (
            r.customer, r.apar_id, r.order_id, r.ext_ord_ref, r.invoice_date, r.due_date, r.amount, r.rest, r.status,
            r.paid_on, r.reminder_level, r.reminded_on, r.ocr
        ) is distinct from (
            excluded.customer, excluded.apar_id, excluded.order_id, excluded.ext_ord_ref, excluded.invoice_date,
            excluded.due_date, excluded.amount, excluded.rest, excluded.status, excluded.paid_on,
            excluded.reminder_level, excluded.reminded_on, excluded.ocr
        ) then excluded.changed_at
        else r.changed_at
    end
);

insert into bosko.receivable_load (interchange, sha256, effective, file_no, loaded_at)
select file.interchange, file.sha256, file.effective, coalesce((file.header ->> 'lopnummer')::integer, 0), run.now
from file
cross join run
on conflict do nothing;

-- The money, in öre, of every invoice of ours that any file has told of, by its newest word: what was paid or credited,
-- and what is left. Not this file's alone: what was closed before is told of no more, and an older file is no news.
with ours as (
    select r.amount, r.rest
    from bosko.receivable r
    where exists (select from bosko.debiting d where d.id = r.order_id - 38000000)
)
select
    (select coalesce(100 * sum(amount - rest), 0)::bigint from ours) as reported_ore,
    (select coalesce(100 * sum(rest), 0)::bigint from ours) as outstanding_ore,
    count(*) filter (where is_new) as inserted,
    count(*) filter (where is_changed and not is_new and not is_older) as changed,
    count(*) filter (where not is_changed and not is_new and not is_older) as unchanged,
    count(*) filter (where is_older) as older_ignored,
    count(*) filter (where status = 'B' and was <> 'B' and not is_older) as paid,
    count(*) filter (where status = 'K' and was <> 'K' and not is_older) as credited,
    count(*) filter (where status = 'I' and was <> 'I' and not is_older) as to_collection
from compared
