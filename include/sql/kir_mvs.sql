-- KIR to the mainframe: every person of the register as a PKNOD record, upper case. Protected persons come as they are;
-- the layout's mask makes PKNOD's own anonymised record of them (answer code 0002).
with spouse as (
    select distinct on (personnr) personnr, relation_personnr
    from bosko.relation
    where typ in ('M', 'P') and relation_personnr is not null
    order by personnr, no
),
foreigner as (
    select distinct on (personnr) personnr, land
    from bosko.citizenship
    where personnr not in (select personnr from bosko.citizenship where land = 'SE')
    order by personnr, no
)
select
    'person' as record_type,
    p.personnr as person,
    p.protected,
    null as key,
    '0000' as returkod,
    p.personnr as pnr_rnr,
    left(p.personnr, 6) || lpad((right(left(p.personnr, 8), 2)::integer % 60)::text, 2, '0') as fodelsedatum,
    coalesce(p.hanvisningspersonnummer, p.personnr) as aktuellt_pnr,
    case when right(left(p.personnr, 8), 2)::integer > 60 then '5' else '1' end as personidtyp,
    upper(coalesce(p.aviseringsnamn, concat_ws(', ', p.efternamn, p.fornamn))) as namn,
    upper(coalesce(p.sp_adress2, p.fb_adress2, p.ut_adress1)) as adress,
    coalesce(p.sp_postnr, p.fb_postnr) as postnummer,
    upper(coalesce(p.sp_postort, p.fb_postort, p.ut_land)) as postort,
    case
        when p.avregistreringsorsak = 'AV' then '6'
        else (array['A', 'B', 'C', 'D', 'E', 'F', 'G'])[array_position(array['OG', 'G', 'Ä', 'S', 'RP', 'SP', 'EP'], p.civilstand)]
    end as civilstand,
    case when p.avregistreringsorsak = 'AV' then p.avregistreringsdatum else p.civilstand_datum end as civilstandsdatum,
    s.relation_personnr as pnr_samhorig,
    f.land as nationalitet,
    left(p.folkbokforingsdatum, 4) as folkbokforingsar,
    p.lan,
    p.kommun,
    p.forsamling,
    to_char(p.as_of, 'IYYYIW') as aviseringsvecka,
    (array['1', '2', '3', '4', '5'])[array_position(array['AV', 'UV', 'OB', 'TA', 'GN'], p.avregistreringsorsak)] as avgangskod,
    to_char(p.as_of, 'YYYYMMDD') as senaste_reg_datum,
    to_char(p.as_of, 'YYYYMMDD') as senaste_reg_datum_inomlanare,
    upper(p.fastighetsbeteckning) as fastighetsbeteckning
from bosko.person p
left join spouse s on s.personnr = p.personnr
left join foreigner f on f.personnr = p.personnr
order by p.personnr
