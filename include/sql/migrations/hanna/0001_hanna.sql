-- HANNA's database as far as Novaschema reads it: schools, teachers, course groups and who is in them, absence.
-- PostgreSQL stands for the mainframe's DB2.

do $$
begin
    if not exists (select from pg_roles where rolname = 'slussen') then
        create role slussen login;
    end if;
end
$$;

create schema hanna;

create table hanna.school (code text primary key check (code ~ '^[0-9]{8}$'), name text not null);

create table hanna.teacher (
    school text not null references hanna.school,
    signature text not null,
    efternamn text not null,
    fornamn text not null,
    primary key (school, signature)
);

create table hanna.subject (code text primary key, name text not null);

create table hanna.course_group (
    school text not null references hanna.school,
    code text not null,
    course text not null,
    subject text not null references hanna.subject,
    teacher text not null,
    primary key (school, code),
    foreign key (school, teacher) references hanna.teacher
);

create table hanna.pupil (
    personnr text primary key check (personnr ~ '^[0-9]{8}[0-9JKLMNRSTUWX][0-9]{3}$'),
    efternamn text not null,
    fornamn text not null,
    school text not null references hanna.school,
    class text not null,
    protected boolean not null default false
);
comment on column hanna.pupil.protected is 'Sekretessmarkering or skyddad folkbokföring, as the population register last told.';

create table hanna.member (
    pupil text not null references hanna.pupil,
    school text not null,
    course_group text not null,
    starts date not null,
    ends date check (ends >= starts),
    primary key (pupil, school, course_group, starts),
    foreign key (school, course_group) references hanna.course_group
);
create index on hanna.member (school, course_group);

create table hanna.absence (
    pupil text not null,
    school text not null,
    course_group text not null,
    day date not null,
    minutes integer not null check (minutes between 1 and 600),
    valid boolean not null,
    primary key (pupil, school, course_group, day),
    foreign key (school, course_group) references hanna.course_group
);
comment on table hanna.absence is 'Minutes that a pupil was absent from a group''s lessons in a day; valid: reported and accepted.';

grant usage on schema hanna to slussen;
grant select on all tables in schema hanna to slussen;
