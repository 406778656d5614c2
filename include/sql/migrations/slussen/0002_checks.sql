-- What the gate asks PostgreSQL about a value: the same rule as records/identities.py, for rows that come from a query.
set role slussen;

create function stage.is_personal_number(number text) returns boolean language sql immutable parallel safe as $$
    -- Personal, coordination (day + 60) or interim number (a letter after the date counts as 1): real date, serial
    -- 001-999, modulus 10 over the last ten (SKV 704 edition 8).
    select coalesce(
        number ~ '^(1[89]|2[01])[0-9]{6}[0-9JKLMNRSTUWX][0-9]{3}$'
        and substr(number, 5, 2) between '01' and '12'
        and (substr(number, 7, 2)::integer - case when substr(number, 7, 2) > '60' then 60 else 0 end) between 1 and
            extract(day from make_date(substr(number, 1, 4)::integer, substr(number, 5, 2)::integer, 1)
                + interval '1 month' - interval '1 day')
        and (substr(number, 9, 1) ~ '[A-Z]' or substr(number, 9, 3) <> '000')
        and (
            select sum(case when weighted > 9 then weighted - 9 else weighted end) % 10 = 0
            from (
                select (case when digit ~ '[A-Z]' then '1' else digit end)::integer * (1 + place % 2) as weighted
                from regexp_split_to_table(substr(number, 3), '') with ordinality as digits (digit, place)
            ) as weights
        ),
        false
    )
$$;

reset role;
