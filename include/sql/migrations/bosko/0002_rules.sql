-- What the extracts share: which address may be used, and Swedish capitals on any locale. And what each table is for.

-- No file may bring a reason that PKNOD has no code for.
alter table bosko.person add constraint person_avregistreringsorsak_known
    check (avregistreringsorsak in ('AV', 'UV', 'GN', 'OB', 'TA', 'AN', 'AS', 'GS'));

create index on bosko.person (hanvisningspersonnummer) where hanvisningspersonnummer is not null;

create view bosko.mailing as
select
    p.personnr,
    case when p.elsewhere then p.sp_co else p.fb_co end as co,
    case when p.elsewhere then p.sp_adress1 else p.fb_adress1 end as adress1,
    case when p.elsewhere then p.sp_adress2 else p.fb_adress2 end as adress2,
    case when p.elsewhere then p.sp_postnr else p.fb_postnr end as postnr,
    case when p.elsewhere then p.sp_postort else p.fb_postort end as postort
from (
    select *, protected or num_nonnulls(sp_co, sp_adress1, sp_adress2, sp_postnr, sp_postort) > 0 as elsewhere
    from bosko.person
) p;
comment on view bosko.mailing is
    'Where a person gets mail: särskild postadress as a whole if there is one, else the home address as a whole. '
    'A protected person has only the former (the tax agency''s forwarding address), or nothing.';

-- upper() knows no Å under locale C; a database's locale is its owner's choice, the mainframe's letters are not.
create function bosko.capitals(value text) returns text language sql immutable strict parallel safe
return upper(translate(value, 'àáâãäåæçèéêëìíîïðñòóôõöøùúûüýþ', 'ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖØÙÚÛÜÝÞ'));

grant select on bosko.mailing to slussen;

comment on schema bosko is 'Pre-school and compulsory school: what the integrations read and write of BoSko.';
comment on domain bosko.personnr is
    'Personal or coordination number, 12 digits; an interim number has a letter after the date of birth.';
comment on table bosko.person is
    'The population register as the files have told it, values as they are written there (dates may be incomplete). '
    'A deregistered person stays, with reason and date.';
comment on column bosko.person.hanvisningspersonnummer is 'The number that this person has now (reasons GN and GS).';
comment on column bosko.person.loaded_by is 'The interchange of the population file that told of the person last.';
comment on column bosko.person.changed_at is
    'When a file last told something that we didn''t know, of the person, its relations or its citizenships.';
comment on column bosko.relation.no is 'Its place among the person''s relations in the file.';
comment on table bosko.citizenship is 'As the register last told them; the date is when one was acquired.';
comment on column bosko.load.effective is 'The file''s #EFFEKTUERAD.';
comment on table bosko.school_unit is 'Pre-schools and schools, by Skolverket''s code.';
comment on table bosko.placement is 'A child''s place at a unit; no last day: until further notice.';
comment on column bosko.customer.changed_at is 'Contact data: with person.changed_at what makes F29 send the customer.';
comment on table bosko.debiting is 'What a customer owes for a child and a month; kronor and öre. A row is never changed.';
comment on column bosko.debiting.id is 'F30''s delta key, and with the reserved series the order''s number.';
