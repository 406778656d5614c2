-- KIR to the mainframe: every person of the register as a PKNOD record, in capitals. Protected persons come as they are;
-- the layout's mask makes PKNOD's own anonymised record of them (answer code 0002). Decisions: what the register doesn't
-- tell is left out, and blank or zeros by the layout; whoever is not of this county (län 01) is utomlänare.
with spouse as (
    select distinct on (personnr) personnr, relation_personnr
    from bosko.relation
    where typ in ('M', 'P') and relation_personnr is not null
    order by personnr, no
),
-- Swedish citizens: the year they became so, where it is told. Others: their first country.
nationality as (
    select distinct on (personnr) personnr, case when land = 'SE' then left(datum, 4) else land end as told
    from bosko.citizenship
    order by personnr, land <> 'SE', no
),
former as (
    select hanvisningspersonnummer as personnr,
        array_agg(personnr::text order by avregistreringsdatum desc nulls last, personnr) as numbers
    from bosko.person
    where hanvisningspersonnummer is not null
    group by hanvisningspersonnummer
)
select
    'person' as record_type,
    p.personnr as person,
    p.protected,
    null as key,
    '0000' as returkod,
    p.personnr as pnr_rnr,
    left(p.personnr, 6) || lpad((b.day % 60)::text, 2, '0') as fodelsedatum,
    coalesce(p.hanvisningspersonnummer, p.personnr) as aktuellt_pnr,
    case when b.day > 60 then case when b.here then '5' else '6' end when b.here then '1' else '2' end as personidtyp,
    bosko.capitals(coalesce(p.aviseringsnamn, concat_ws(', ', p.efternamn, p.fornamn))) as namn,
    bosko.capitals(coalesce(m.adress2, m.adress1, p.ut_adress1)) as adress,
    m.postnr as postnummer,
    bosko.capitals(coalesce(m.postort, p.ut_land)) as postort,
    case
        when p.avregistreringsorsak = 'AV' then '6'
        else case p.civilstand
            when 'OG' then 'A' when 'G' then 'B' when 'Ä' then 'C' when 'S' then 'D'
            when 'RP' then 'E' when 'SP' then 'F' when 'EP' then 'G'
        end
    end as civilstand,
    case when p.avregistreringsorsak = 'AV' then p.avregistreringsdatum else p.civilstand_datum end as civilstandsdatum,
    s.relation_personnr as pnr_samhorig,
    n.told as nationalitet,
    left(p.folkbokforingsdatum, 4) as folkbokforingsar,
    p.lan,
    p.kommun,
    p.forsamling,
    to_char(p.as_of, 'IYYYIW') as aviseringsvecka,
    case p.avregistreringsorsak
        when 'AV' then '1' when 'UV' then '2' when 'OB' then '3' when 'TA' then '4' when 'AN' then '4' when 'AS' then '4'
        when 'GN' then '5' when 'GS' then '5'
    end as avgangskod,
    to_char(p.as_of, 'YYYYMMDD') as senaste_reg_datum,
    case when b.here then to_char(p.as_of, 'YYYYMMDD') end as senaste_reg_datum_inomlanare,
    case when not b.here then to_char(p.as_of, 'YYYYMMDD') end as senaste_reg_datum_utomlanare,
    f.numbers[1] as tidigare_identitet_1,
    f.numbers[2] as tidigare_identitet_2,
    f.numbers[3] as tidigare_identitet_3,
    f.numbers[4] as tidigare_identitet_4,
    f.numbers[5] as tidigare_identitet_5,
    bosko.capitals(p.fastighetsbeteckning) as fastighetsbeteckning
from bosko.person p
cross join lateral (select substr(p.personnr, 7, 2)::integer as day, coalesce(p.lan, '01') = '01' as here) b
join bosko.mailing m on m.personnr = p.personnr
left join spouse s on s.personnr = p.personnr
left join nationality n on n.personnr = p.personnr
left join former f on f.personnr = p.personnr
order by p.personnr
