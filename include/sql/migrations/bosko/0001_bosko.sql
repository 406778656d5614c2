-- BoSko's tables as far as the integrations read and write them: persons, their relations and citizenships, placements,
-- customers, debitings. Real tables with real constraints: what the stage accepts, these may refuse.

do $$
begin
    if not exists (select from pg_roles where rolname = 'slussen') then
        create role slussen login;
    end if;
end
$$;

create schema bosko;

create domain bosko.personnr as text check (value ~ '^[0-9]{8}[0-9JKLMNRSTUWX][0-9]{3}$');

create table bosko.person (
    personnr bosko.personnr primary key,
    fornamn text not null,
    mellannamn text,
    efternamn text not null,
    aviseringsnamn text,
    tilltalsnamnsmarkering text,
    sekretessmarkering boolean not null default false,
    skyddad_folkbokforing boolean not null default false,
    protected boolean not null generated always as (sekretessmarkering or skyddad_folkbokforing) stored,
    folkbokforingsdatum text,
    lan text, kommun text, forsamling text, fastighetsbeteckning text,
    fb_co text, fb_adress1 text, fb_adress2 text, fb_postnr text, fb_postort text,
    sp_co text, sp_adress1 text, sp_adress2 text, sp_postnr text, sp_postort text,
    ut_adress1 text, ut_adress2 text, ut_adress3 text, ut_land text,
    civilstand text, civilstand_datum text,
    fodelselan text, fodelseforsamling text, fodelseort_utland text, fodelseland text, invandringsdatum text,
    avregistreringsorsak text, avregistreringsdatum text,
    hanvisningspersonnummer text,
    as_of date not null,
    loaded_by text not null,
    changed_at timestamptz not null
);
comment on column bosko.person.as_of is 'The effective date of the population file that wrote the row: an older one changes nothing.';
comment on column bosko.person.protected is 'Sekretessmarkering or skyddad folkbokföring: whom the policies for protected persons are about.';
create index on bosko.person (changed_at);
create index on bosko.person (personnr) where protected;

create table bosko.relation (
    personnr bosko.personnr not null references bosko.person,
    no integer not null,
    relation_personnr text,
    typ text not null,
    fornamn text, mellannamn text, efternamn text, status text,
    primary key (personnr, no)
);
comment on table bosko.relation is 'Guardians (V), parents (MO, FA), spouses (M, P) …, as the register last told them.';

create table bosko.citizenship (
    personnr bosko.personnr not null references bosko.person,
    no integer not null,
    land text not null,
    datum text,
    primary key (personnr, no)
);

create table bosko.load (
    interchange text primary key,
    sha256 text not null,
    effective date not null,
    loaded_at timestamptz not null
);
comment on table bosko.load is 'The population files that were merged: a second merge of one changes nothing.';

create table bosko.protection_change (
    id bigint generated always as identity primary key,
    personnr bosko.personnr not null,
    protected boolean not null,
    interchange text not null,
    changed_at timestamptz not null
);
comment on table bosko.protection_change is 'Every flag that a population file set or took away: what the gate may explain a change by.';

create table bosko.school_unit (code text primary key check (code ~ '^[0-9]{8}$'), name text not null);

create table bosko.placement (
    id bigint generated always as identity primary key,
    child bosko.personnr not null references bosko.person,
    unit text not null references bosko.school_unit,
    fee_category text not null,
    starts date not null,
    ends date check (ends >= starts)
);

create table bosko.customer (
    personnr bosko.personnr primary key references bosko.person,
    telephone text,
    e_mail text,
    changed_at timestamptz not null
);
comment on table bosko.customer is 'Who pays for pre-school.';

create table bosko.debiting (
    id bigint primary key,
    customer bosko.personnr not null references bosko.customer,
    child bosko.personnr not null references bosko.person,
    period integer not null check (period between 200001 and 209912),
    fee_text text not null,
    amount numeric(12, 2) not null,
    created_at timestamptz not null
);
create index on bosko.debiting (customer);

create table bosko.debiting_calendar (night date primary key);
comment on table bosko.debiting_calendar is 'The nights on which invoices go to Agresso: the date on which the window opens.';

grant usage on schema bosko to slussen;
grant select on all tables in schema bosko to slussen;
grant insert, update on bosko.person, bosko.load to slussen;
grant insert, update, delete on bosko.relation, bosko.citizenship to slussen;
grant insert on bosko.protection_change to slussen;
