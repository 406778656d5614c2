-- The same rule as in 0002, ten times as fast: the gate asks it of every record.
set role slussen;

-- What two digits add to a modulus 10 with the weights 2 and 1, for 00 to 99 (SKV 704 edition 8).
create function stage.weighted(pair text) returns integer language sql immutable parallel safe as $$
    select get_byte(decode('
        00 01 02 03 04 05 06 07 08 09
        02 03 04 05 06 07 08 09 00 01
        04 05 06 07 08 09 00 01 02 03
        06 07 08 09 00 01 02 03 04 05
        08 09 00 01 02 03 04 05 06 07
        01 02 03 04 05 06 07 08 09 00
        03 04 05 06 07 08 09 00 01 02
        05 06 07 08 09 00 01 02 03 04
        07 08 09 00 01 02 03 04 05 06
        09 00 01 02 03 04 05 06 07 08
    ', 'hex'), pair::integer)
$$;

-- An interim number's letter counts as 1. The cases keep the order: what is no digit is never cast to a number.
create or replace function stage.is_personal_number(number text) returns boolean
language sql immutable parallel safe as $$
    select case
        when number ~ '^(1[89]|2[01])[0-9]{2}(0[1-9]|1[0-2])[0-9]{2}[0-9JKLMNRSTUWX][0-9]{3}$' then
            substr(number, 9, 3) <> '000'
            and substr(number, 7, 2)::integer - case when substr(number, 7, 2) > '60' then 60 else 0 end between 1 and
                case
                    when substr(number, 5, 2) in ('04', '06', '09', '11') then 30
                    when substr(number, 5, 2) <> '02' then 31
                    when substr(number, 3, 2) = '00' and substr(number, 1, 4)::integer % 400 <> 0 then 28
                    when substr(number, 3, 2)::integer % 4 = 0 then 29
                    else 28
                end
            and (
                stage.weighted(substr(number, 3, 2))
                + stage.weighted(substr(number, 5, 2))
                + stage.weighted(substr(number, 7, 2))
                + stage.weighted(translate(substr(number, 9, 2), 'JKLMNRSTUWX', '11111111111'))
                + stage.weighted(substr(number, 11, 2))
            ) % 10 = 0
        else false
    end
$$;

reset role;
