-- KIR into BoSko: one population file, one transaction. Reads the temporary relations incoming (the stage), file and run.
--
-- A file that was merged before changes nothing. A person changes only by a file that is not older than what told of it
-- last (decision: of two files of the same day the one that is merged later holds). A notice replaces the person's row,
-- relations and citizenships; one that tells nothing new leaves changed_at as it was, so that no delta sends the person
-- again. A person who isn't in the file stays as is.

set local work_mem = '256MB'; -- of two million persons each join is one pass

-- One merge at a time: what this one compares with doesn't change under it.
select pg_advisory_xact_lock(hashtext('bosko.load'));

create temporary view told as
select
    i.record_no,
    i.personnummer as personnr,
    coalesce(i.sekretessmarkering = 'J', false) as sekretessmarkering,
    coalesce(i.skyddad_folkbokforing = 'J', false) as skyddad_folkbokforing,
    coalesce(i.fornamn, '') as fornamn, i.mellannamn, coalesce(i.efternamn, '') as efternamn, i.aviseringsnamn,
    i.tilltalsnamnsmarkering, i.folkbokforingsdatum, i.lan, i.kommun, i.forsamling, i.fastighetsbeteckning,
    i.fb_co, i.fb_adress1, i.fb_adress2, i.fb_postnr, i.fb_postort,
    i.sp_co, i.sp_adress1, i.sp_adress2, i.sp_postnr, i.sp_postort,
    i.ut_adress1, i.ut_adress2, i.ut_adress3, i.ut_land, i.civilstand, i.civilstand_datum,
    i.fodelselan, i.fodelseforsamling, i.fodelseort_utland, i.fodelseland, i.invandringsdatum,
    i.avregistreringsorsak, i.avregistreringsdatum, i.hanvisningspersonnummer
from incoming i
where i.record_type = 'person';

-- Whom the file tells of, and how that stands to what we have. Of two notices of a person the later one holds.
create temporary table notice on commit drop as
with repeated as (
    select personnr, max(record_no) as latest from told group by personnr having count(*) > 1
)
select
    t.personnr,
    t.record_no,
    t.sekretessmarkering or t.skyddad_folkbokforing as is_protected,
    t.avregistreringsorsak is not null as is_deregistered,
    p.personnr is null as is_new,
    coalesce(p.as_of > file.effective, false) as is_older,
    coalesce(p.protected, false) as was_protected,
    p.avregistreringsorsak is not null as was_deregistered,
    (
        t.sekretessmarkering, t.skyddad_folkbokforing, t.fornamn, t.mellannamn, t.efternamn, t.aviseringsnamn,
        t.tilltalsnamnsmarkering, t.folkbokforingsdatum, t.lan, t.kommun, t.forsamling, t.fastighetsbeteckning,
        t.fb_co, t.fb_adress1, t.fb_adress2, t.fb_postnr, t.fb_postort,
        t.sp_co, t.sp_adress1, t.sp_adress2, t.sp_postnr, t.sp_postort,
        t.ut_adress1, t.ut_adress2, t.ut_adress3, t.ut_land, t.civilstand, t.civilstand_datum,
        t.fodelselan, t.fodelseforsamling, t.fodelseort_utland, t.fodelseland, t.invandringsdatum,
        t.avregistreringsorsak, t.avregistreringsdatum, t.hanvisningspersonnummer
    ) is distinct from (
        p.sekretessmarkering, p.skyddad_folkbokforing, p.fornamn, p.mellannamn, p.efternamn, p.aviseringsnamn,
        p.tilltalsnamnsmarkering, p.folkbokforingsdatum, p.lan, p.kommun, p.forsamling, p.fastighetsbeteckning,
        p.fb_co, p.fb_adress1, p.fb_adress2, p.fb_postnr, p.fb_postort,
        p.sp_co, p.sp_adress1, p.sp_adress2, p.sp_postnr, p.sp_postort,
        p.ut_adress1, p.ut_adress2, p.ut_adress3, p.ut_land, p.civilstand, p.civilstand_datum,
        p.fodelselan, p.fodelseforsamling, p.fodelseort_utland, p.fodelseland, p.invandringsdatum,
        p.avregistreringsorsak, p.avregistreringsdatum, p.hanvisningspersonnummer
    ) as is_changed
from told t
cross join file
left join repeated r on r.personnr = t.personnr
left join bosko.person p on p.personnr = t.personnr
where t.personnr is not null and (r.latest is null or r.latest = t.record_no)
    and not exists (select from bosko.load l join file on file.interchange = l.interchange);

alter table notice add primary key (record_no);
analyze notice;

insert into bosko.person (
    personnr, sekretessmarkering, skyddad_folkbokforing, fornamn, mellannamn, efternamn, aviseringsnamn,
    tilltalsnamnsmarkering, folkbokforingsdatum, lan, kommun, forsamling, fastighetsbeteckning,
    fb_co, fb_adress1, fb_adress2, fb_postnr, fb_postort, sp_co, sp_adress1, sp_adress2, sp_postnr, sp_postort,
    ut_adress1, ut_adress2, ut_adress3, ut_land, civilstand, civilstand_datum,
    fodelselan, fodelseforsamling, fodelseort_utland, fodelseland, invandringsdatum,
    avregistreringsorsak, avregistreringsdatum, hanvisningspersonnummer, as_of, loaded_by, changed_at
)
select
    t.personnr, t.sekretessmarkering, t.skyddad_folkbokforing, t.fornamn, t.mellannamn, t.efternamn, t.aviseringsnamn,
    t.tilltalsnamnsmarkering, t.folkbokforingsdatum, t.lan, t.kommun, t.forsamling, t.fastighetsbeteckning,
    t.fb_co, t.fb_adress1, t.fb_adress2, t.fb_postnr, t.fb_postort,
    t.sp_co, t.sp_adress1, t.sp_adress2, t.sp_postnr, t.sp_postort,
    t.ut_adress1, t.ut_adress2, t.ut_adress3, t.ut_land, t.civilstand, t.civilstand_datum,
    t.fodelselan, t.fodelseforsamling, t.fodelseort_utland, t.fodelseland, t.invandringsdatum,
    t.avregistreringsorsak, t.avregistreringsdatum, t.hanvisningspersonnummer,
    file.effective, file.interchange, run.now
from notice n
join told t on t.record_no = n.record_no
cross join file
cross join run
where n.is_new;

-- Relations and citizenships: only what differs is written. A relation that the register has ended is none.
create temporary table told_relation on commit drop as
select
    n.personnr, n.is_new, i.group_no::integer as no,
    coalesce(i.relation_personnummer, i.relation_fodelsetid) as relation_personnr,
    coalesce(i.relationstyp, '') as typ, i.relation_fornamn as fornamn, i.relation_mellannamn as mellannamn,
    i.relation_efternamn as efternamn, i.relationsstatus as status
from notice n
join incoming i on i.record_no = n.record_no
where i.record_type = 'relation' and i.relation_avregistreringsorsak is null and not n.is_older;

create temporary table told_citizenship on commit drop as
select
    n.personnr, n.is_new, i.group_no::integer as no, i.medborgarskap_land as land, i.medborgarskap_datum as datum
from notice n
join incoming i on i.record_no = n.record_no
where i.record_type = 'medborgarskap' and i.medborgarskap_land is not null and not n.is_older;

analyze told_relation;
analyze told_citizenship;

-- What is told of somebody new meets nothing: it is written in bulk, in the order of its key.
insert into bosko.relation (personnr, no, relation_personnr, typ, fornamn, mellannamn, efternamn, status)
select personnr, no, relation_personnr, typ, fornamn, mellannamn, efternamn, status
from told_relation
where is_new
order by personnr, no;

insert into bosko.citizenship (personnr, no, land, datum)
select personnr, no, land, datum
from told_citizenship
where is_new
order by personnr, no;

create temporary table touched on commit drop as
with gone as (
    delete from bosko.relation r
    using notice n
    where r.personnr = n.personnr and not n.is_new and not n.is_older
        and not exists (select from told_relation t where t.personnr = r.personnr and t.no = r.no)
    returning r.personnr
),
written as (
    merge into bosko.relation r
    using (select * from told_relation where not is_new) t on r.personnr = t.personnr and r.no = t.no
    when not matched then
        insert (personnr, no, relation_personnr, typ, fornamn, mellannamn, efternamn, status)
        values (t.personnr, t.no, t.relation_personnr, t.typ, t.fornamn, t.mellannamn, t.efternamn, t.status)
    when matched and (r.relation_personnr, r.typ, r.fornamn, r.mellannamn, r.efternamn, r.status)
        is distinct from (t.relation_personnr, t.typ, t.fornamn, t.mellannamn, t.efternamn, t.status) then
        update set (relation_personnr, typ, fornamn, mellannamn, efternamn, status)
            = (t.relation_personnr, t.typ, t.fornamn, t.mellannamn, t.efternamn, t.status)
    returning t.personnr
),
gone_citizenship as (
    delete from bosko.citizenship c
    using notice n
    where c.personnr = n.personnr and not n.is_new and not n.is_older
        and not exists (select from told_citizenship t where t.personnr = c.personnr and t.no = c.no)
    returning c.personnr
),
written_citizenship as (
    merge into bosko.citizenship c
    using (select * from told_citizenship where not is_new) t on c.personnr = t.personnr and c.no = t.no
    when not matched then
        insert (personnr, no, land, datum) values (t.personnr, t.no, t.land, t.datum)
    when matched and (c.land, c.datum) is distinct from (t.land, t.datum) then
        update set (land, datum) = (t.land, t.datum)
    returning t.personnr
)
select personnr from gone
union all select personnr from written
union all select personnr from gone_citizenship
union all select personnr from written_citizenship;

update notice n set is_changed = true from touched where touched.personnr = n.personnr and not n.is_changed;

update bosko.person p
set (
    sekretessmarkering, skyddad_folkbokforing, fornamn, mellannamn, efternamn, aviseringsnamn,
    tilltalsnamnsmarkering, folkbokforingsdatum, lan, kommun, forsamling, fastighetsbeteckning,
    fb_co, fb_adress1, fb_adress2, fb_postnr, fb_postort, sp_co, sp_adress1, sp_adress2, sp_postnr, sp_postort,
    ut_adress1, ut_adress2, ut_adress3, ut_land, civilstand, civilstand_datum,
    fodelselan, fodelseforsamling, fodelseort_utland, fodelseland, invandringsdatum,
    avregistreringsorsak, avregistreringsdatum, hanvisningspersonnummer, as_of, loaded_by, changed_at
) = (
    t.sekretessmarkering, t.skyddad_folkbokforing, t.fornamn, t.mellannamn, t.efternamn, t.aviseringsnamn,
    t.tilltalsnamnsmarkering, t.folkbokforingsdatum, t.lan, t.kommun, t.forsamling, t.fastighetsbeteckning,
    t.fb_co, t.fb_adress1, t.fb_adress2, t.fb_postnr, t.fb_postort,
    t.sp_co, t.sp_adress1, t.sp_adress2, t.sp_postnr, t.sp_postort,
    t.ut_adress1, t.ut_adress2, t.ut_adress3, t.ut_land, t.civilstand, t.civilstand_datum,
    t.fodelselan, t.fodelseforsamling, t.fodelseort_utland, t.fodelseland, t.invandringsdatum,
    t.avregistreringsorsak, t.avregistreringsdatum, t.hanvisningspersonnummer,
    file.effective, file.interchange, case when n.is_changed then run.now else p.changed_at end
)
from notice n
join told t on t.record_no = n.record_no
cross join file
cross join run
where p.personnr = n.personnr and not n.is_new and not n.is_older
    and (n.is_changed or p.as_of < file.effective); -- told again, by a newer file: an older one may not undo it

insert into bosko.protection_change (personnr, protected, interchange, changed_at)
select n.personnr, n.is_protected, file.interchange, run.now
from notice n
cross join file
cross join run
where n.is_protected <> n.was_protected and not n.is_older;

insert into bosko.load (interchange, sha256, effective, loaded_at)
select file.interchange, file.sha256, file.effective, run.now
from file
cross join run
on conflict do nothing;

select
    count(*) filter (where is_new) as inserted,
    count(*) filter (where is_changed and not is_new and not is_older) as changed,
    count(*) filter (where is_deregistered and not was_deregistered and not is_older) as deregistered,
    count(*) filter (where not is_changed and not is_new and not is_older) as unchanged,
    count(*) filter (where is_older) as older_ignored,
    count(*) filter (where is_protected and not was_protected and not is_older) as protected_set,
    count(*) filter (where was_protected and not is_protected and not is_older) as protected_removed
from notice;
