-- What the school's flows read and write of BoSko: units and pupils, places with their fees, two kinds of debitings,
-- general-ledger vouchers, and the customer ledger as Agresso reports it back.

-- --- units and pupils

alter table bosko.school_unit
    add column form text not null default 'FSK' check (form in ('FSK', 'FRH', 'GR')),
    add column independent boolean not null default false;
comment on column bosko.school_unit.form is 'FSK pre-school, FRH school-age care, GR compulsory school.';
comment on column bosko.school_unit.independent is 'Run by somebody else than the city: its fees are invoiced externally.';

create table bosko.enrolment (
    pupil bosko.personnr not null references bosko.person,
    unit text not null references bosko.school_unit,
    school_year text not null check (school_year ~ '^[0-9]{4}/[0-9]{4}$'),
    grade text not null check (grade in ('F', '1', '2', '3', '4', '5', '6', '7', '8', '9')),
    class text not null,
    starts date not null,
    ends date check (ends >= starts),
    primary key (pupil, school_year, starts)
);
create index on bosko.enrolment (unit);
comment on table bosko.enrolment is 'A pupil in a class for a school year; no last day: until the school year ends.';

-- The school year that a day belongs to: it begins on 1 July (decision), so that August's classes are the new ones'.
create function bosko.school_year(on_day date) returns text language sql immutable strict parallel safe
return (extract(year from on_day - interval '6 months')::integer)::text || '/'
    || (extract(year from on_day - interval '6 months')::integer + 1)::text;

-- --- places and their fees

create table bosko.fee_category (
    code text primary key check (length(code) <= 10),
    name text not null unique,
    form text not null check (form in ('FSK', 'FRH')),
    monthly numeric(12, 2) not null check (monthly > 0)
);
comment on table bosko.fee_category is 'What a place costs a month, at most; kronor and öre.';

alter table bosko.placement
    add column form text not null default 'FSK' check (form in ('FSK', 'FRH')),
    add column child_group text;
create index on bosko.placement (child);

create table bosko.placement_fee (
    placement bigint not null references bosko.placement,
    category text not null references bosko.fee_category,
    valid_from date not null,
    valid_to date check (valid_to >= valid_from),
    primary key (placement, valid_from)
);
comment on table bosko.placement_fee is 'Which fee a place has had, and from when to when.';

-- --- debitings

alter table bosko.customer
    add column preschool boolean not null default true,
    add column leisure boolean not null default false;
comment on column bosko.customer.preschool is 'Pays for pre-school: a customer of F29.';
comment on column bosko.customer.leisure is 'Pays for school-age care: a customer of F102.';

alter table bosko.debiting
    add column area text not null default 'preschool' check (area in ('preschool', 'leisure')),
    add column external boolean not null default false;
create index on bosko.debiting (area, created_at);
comment on column bosko.debiting.area is 'preschool goes with F30, leisure (school-age care) with F103 and F104.';
comment on column bosko.debiting.external is 'The place is at an independent unit: F103. At one of the city''s own: F104.';

-- The lines of LG04 orders over these debitings, one order a customer and period: its header (H), then for each debiting
-- its item (I) and text lines (T). The text line with the child's name says of whom it is; the layout blanks it when that
-- child is protected. The unit's name is in no line: it tells where a child is.
create function bosko.invoice_lines(debitings bigint[])
returns table (
    record_type text, person text, protected boolean, key text, order_id bigint, line_no bigint, sequence_no integer,
    ext_ord_ref text, period integer, amount numeric, art_descr text, short_info text
)
language sql stable as $$
    with debited as (
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
        where d.id = any(debitings)
    )
    select 'H', customer, payer_protected, null, order_id, 0, null, customer, period, null, null, null
    from debited where line_no = 1
    union all
    select 'I', customer, payer_protected, id::text, order_id, line_no, 0, null, period, amount, fee_text, null
    from debited
    union all
    select 'T', child, child_protected, null, order_id, line_no, 1, null, null, null, null, 'Avser ' || child_name
    from debited
    union all
    select 'T', null, false, null, order_id, line_no, 2, null, null, null, null,
        'Period ' || left(period::text, 4) || '-' || right(period::text, 2)
    from debited
$$;

-- --- general ledger

create table bosko.posting (
    id bigint primary key,
    voucher_no bigint not null,
    voucher_date date not null,
    account text not null,
    unit text not null,
    activity text not null,
    amount numeric(14, 2) not null check (amount <> 0),
    description text not null,
    created_at timestamptz not null
);
create index on bosko.posting (voucher_no);
comment on table bosko.posting is
    'Lines of general-ledger vouchers, debit above zero and credit below; a voucher''s lines are made together, and no '
    'line is changed. About units, never about persons.';
comment on column bosko.posting.id is 'H45''s delta key.';

-- --- the customer ledger, as Agresso reports it (A02)

create table bosko.receivable (
    client text not null,
    voucher_type text not null,
    voucher_no bigint not null,
    sequence_no integer not null,
    customer text not null,
    apar_id bigint,
    order_id bigint,
    ext_ord_ref text,
    invoice_date date not null,
    due_date date,
    amount numeric(14, 2) not null,
    rest numeric(14, 2) not null,
    status text not null check (status in ('O', 'D', 'B', 'K', 'I', 'A')),
    paid_on date,
    reminder_level integer not null,
    reminded_on date,
    ocr text,
    as_of date not null,
    file_no integer not null,
    loaded_by text not null,
    changed_at timestamptz not null,
    primary key (client, voucher_type, voucher_no, sequence_no)
);
create index on bosko.receivable (order_id);
comment on table bosko.receivable is
    'Invoices in Agresso''s customer ledger: O open, D part-paid, B paid, K credited, I at debt collection, A written off.';
comment on column bosko.receivable.as_of is 'With file_no: the file that wrote the row. An older one changes nothing.';

create table bosko.receivable_load (
    interchange text primary key,
    sha256 text not null,
    effective date not null,
    file_no integer not null,
    loaded_at timestamptz not null
);
comment on table bosko.receivable_load is 'The A02 files that were merged: a second merge of one changes nothing.';

grant select on all tables in schema bosko to slussen;
grant insert, update on bosko.receivable, bosko.receivable_load to slussen;
