-- KIR into BoSko: one population file, one transaction. Reads the temporary relations incoming (the stage), file and run.
--
-- A file that was merged before changes nothing. A person changes only by a file that is not older than what wrote the
-- row (of two files of the same day, the one that is merged later wins). A notice replaces the person's row, relations
-- and citizenships; a person who isn't in the file stays as is.

create temporary table notice on commit drop as
select distinct on (i.personnummer)
    i.record_no, i.personnummer as personnr,
    coalesce(i.sekretessmarkering = 'J', false) as sekretessmarkering,
    coalesce(i.skyddad_folkbokforing = 'J', false) as skyddad_folkbokforing,
    coalesce(i.fornamn, '') as fornamn, i.mellannamn, coalesce(i.efternamn, '') as efternamn, i.aviseringsnamn,
    i.tilltalsnamnsmarkering, i.folkbokforingsdatum, i.lan, i.kommun, i.forsamling, i.fastighetsbeteckning,
    i.fb_co, i.fb_adress1, i.fb_adress2, i.fb_postnr, i.fb_postort, i.sp_co, i.sp_adress1, i.sp_adress2,
    i.sp_postnr, i.sp_postort, i.ut_adress1, i.ut_adress2, i.ut_adress3, i.ut_land, i.civilstand,
    i.civilstand_datum, i.fodelselan, i.fodelseforsamling, i.fodelseort_utland, i.fodelseland, i.invandringsdatum,
    i.avregistreringsorsak, i.avregistreringsdatum, i.hanvisningspersonnummer,
    p.personnr is null as is_new,
    coalesce(p.protected, false) as was_protected,
    coalesce(p.as_of > file.effective, false) as is_older,
    p.avregistreringsorsak as was_deregistered
from incoming i
cross join file
left join bosko.person p on p.personnr = i.personnummer
where i.record_type = 'person'
    and i.personnummer is not null
    and not exists (select from bosko.load where load.interchange = file.interchange)
order by i.personnummer, i.record_no desc; -- of two notices of a person in one file the later holds

alter table notice add primary key (personnr);
analyze notice;

create temporary table applied on commit drop as
with written as (
    insert into bosko.person as p (
        personnr, sekretessmarkering, skyddad_folkbokforing,
        fornamn, mellannamn, efternamn, aviseringsnamn, tilltalsnamnsmarkering, folkbokforingsdatum, lan, kommun,
        forsamling, fastighetsbeteckning, fb_co, fb_adress1, fb_adress2, fb_postnr, fb_postort, sp_co, sp_adress1,
        sp_adress2, sp_postnr, sp_postort, ut_adress1, ut_adress2, ut_adress3, ut_land, civilstand,
        civilstand_datum, fodelselan, fodelseforsamling, fodelseort_utland, fodelseland, invandringsdatum,
        avregistreringsorsak, avregistreringsdatum, hanvisningspersonnummer,
        as_of, loaded_by, changed_at
    )
    select
        n.personnr, n.sekretessmarkering, n.skyddad_folkbokforing,
        n.fornamn, n.mellannamn, n.efternamn, n.aviseringsnamn, n.tilltalsnamnsmarkering, n.folkbokforingsdatum,
        n.lan, n.kommun, n.forsamling, n.fastighetsbeteckning, n.fb_co, n.fb_adress1, n.fb_adress2, n.fb_postnr,
        n.fb_postort, n.sp_co, n.sp_adress1, n.sp_adress2, n.sp_postnr, n.sp_postort, n.ut_adress1, n.ut_adress2,
        n.ut_adress3, n.ut_land, n.civilstand, n.civilstand_datum, n.fodelselan, n.fodelseforsamling,
        n.fodelseort_utland, n.fodelseland, n.invandringsdatum, n.avregistreringsorsak, n.avregistreringsdatum,
        n.hanvisningspersonnummer,
        file.effective, file.interchange, run.now
    from notice n cross join file cross join run
    where not n.is_older
    order by n.personnr -- two merges at once take their locks in the same order
    on conflict (personnr) do update set
        sekretessmarkering = excluded.sekretessmarkering,
        skyddad_folkbokforing = excluded.skyddad_folkbokforing,
        fornamn = excluded.fornamn,
        mellannamn = excluded.mellannamn,
        efternamn = excluded.efternamn,
        aviseringsnamn = excluded.aviseringsnamn,
        tilltalsnamnsmarkering = excluded.tilltalsnamnsmarkering,
        folkbokforingsdatum = excluded.folkbokforingsdatum,
        lan = excluded.lan,
        kommun = excluded.kommun,
        forsamling = excluded.forsamling,
        fastighetsbeteckning = excluded.fastighetsbeteckning,
        fb_co = excluded.fb_co,
        fb_adress1 = excluded.fb_adress1,
        fb_adress2 = excluded.fb_adress2,
        fb_postnr = excluded.fb_postnr,
        fb_postort = excluded.fb_postort,
        sp_co = excluded.sp_co,
        sp_adress1 = excluded.sp_adress1,
        sp_adress2 = excluded.sp_adress2,
        sp_postnr = excluded.sp_postnr,
        sp_postort = excluded.sp_postort,
        ut_adress1 = excluded.ut_adress1,
        ut_adress2 = excluded.ut_adress2,
        ut_adress3 = excluded.ut_adress3,
        ut_land = excluded.ut_land,
        civilstand = excluded.civilstand,
        civilstand_datum = excluded.civilstand_datum,
        fodelselan = excluded.fodelselan,
        fodelseforsamling = excluded.fodelseforsamling,
        fodelseort_utland = excluded.fodelseort_utland,
        fodelseland = excluded.fodelseland,
        invandringsdatum = excluded.invandringsdatum,
        avregistreringsorsak = excluded.avregistreringsorsak,
        avregistreringsdatum = excluded.avregistreringsdatum,
        hanvisningspersonnummer = excluded.hanvisningspersonnummer,
        as_of = excluded.as_of,
        loaded_by = excluded.loaded_by,
        changed_at = excluded.changed_at
    where p.as_of <= excluded.as_of
    returning p.personnr
)
select n.* from written w join notice n on n.personnr = w.personnr;

insert into bosko.protection_change (personnr, protected, interchange, changed_at)
select a.personnr, a.sekretessmarkering or a.skyddad_folkbokforing, file.interchange, run.now
from applied a cross join file cross join run
where (a.sekretessmarkering or a.skyddad_folkbokforing) <> a.was_protected;

delete from bosko.relation r using applied a where r.personnr = a.personnr;
insert into bosko.relation (personnr, no, relation_personnr, typ, fornamn, mellannamn, efternamn, status)
select
    a.personnr, i.group_no, coalesce(i.relation_personnummer, i.relation_fodelsetid), coalesce(i.relationstyp, ''),
    i.relation_fornamn, i.relation_mellannamn, i.relation_efternamn, i.relationsstatus
from applied a join incoming i on i.record_no = a.record_no and i.record_type = 'relation'
where i.relation_avregistreringsorsak is null;

delete from bosko.citizenship c using applied a where c.personnr = a.personnr;
insert into bosko.citizenship (personnr, no, land, datum)
select a.personnr, i.group_no, i.medborgarskap_land, i.medborgarskap_datum
from applied a join incoming i on i.record_no = a.record_no and i.record_type = 'medborgarskap'
where i.medborgarskap_land is not null;

insert into bosko.load (interchange, sha256, effective, loaded_at)
select file.interchange, file.sha256, file.effective, run.now from file cross join run
on conflict do nothing;

select
    count(*) filter (where a.is_new) as inserted,
    count(*) filter (where not a.is_new) as changed,
    count(*) filter (where a.avregistreringsorsak is not null and a.was_deregistered is null) as deregistered,
    (select count(*) from notice where is_older) as older_ignored,
    count(*) filter (where (a.sekretessmarkering or a.skyddad_folkbokforing) and not a.was_protected) as protected_set,
    count(*) filter (where not (a.sekretessmarkering or a.skyddad_folkbokforing) and a.was_protected) as protected_removed
from applied a;
