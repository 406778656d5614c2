-- What the gate has seen of each interchange, to compare later ones with: how much it was, and for what. Business keys
-- (whom, how much, for when: without the numbers that change each time) are keyed hashes, and give nobody away. An index,
-- not a proof: it may be rebuilt, and what is older than the comparison reaches back may go.
set role slussen_owner;

create table sent.seen (
    interchange text primary key,
    integration text not null,
    name text not null,
    at timestamptz not null,
    content text not null,
    records bigint not null,
    totals jsonb not null
);
create index on sent.seen (integration, at);
comment on column sent.seen.at is 'The run''s clock at the gate.';
comment on column sent.seen.content is 'Hash of the source''s bytes, or of the stage''s rows where a query made them.';

create table sent.business (
    interchange text not null references sent.seen on delete cascade,
    key bytea not null,
    n integer not null check (n > 0),
    primary key (interchange, key)
);
comment on table sent.business is 'Business keys as keyed hashes, and how many records have each.';

grant select, insert, update, delete on sent.seen, sent.business to slussen;

reset role;

set role slussen;

-- Modulus 10 over all digits, the last one being the check digit: payment references (OCR), bankgiro and plusgiro numbers.
create function stage.is_luhn(number text) returns boolean language sql immutable parallel safe as $$
    select case
        when number ~ '^[0-9]{2,}$' then (
            select sum(case when weighted > 9 then weighted - 9 else weighted end) % 10 = 0
            from (
                select digit::integer * (1 + (place - 1) % 2) as weighted
                from regexp_split_to_table(reverse(number), '') with ordinality as digits (digit, place)
            ) as weights
        )
        else false
    end
$$;

-- Is this what a personal number looks like, anywhere within a text? Free text that leaves must not hold one.
create function stage.has_personal_number(value text) returns boolean language sql immutable parallel safe as $$
    select value ~ '(^|[^0-9])((18|19|20)[0-9]{2}|[0-9]{2})(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01]|6[1-9]|[78][0-9]|9[01])[-+ ]?[0-9]{4}($|[^0-9])'
$$;

reset role;
