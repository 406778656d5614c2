"""How to break each line of the suites of BoSko's and HANNA's further rows, and how to stay within it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

from tests.gating_bosko import DAY, LATER, READ

# What tests/test_suites.py has: Line, put, same, both, misprint, without, twice, in_a_hundred.
Tools = Any
BEFORE, AFTER = date(2025, 8, 17), date(2026, 6, 13)
NO_UNIT = "1802000"


def lines(t: Tools, f29: dict[str, Any], f30: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The lines by suite, by rule."""
    put, line, hundred = t.put, t.Line, t.in_a_hundred
    leisure = {
        "amount (I) values to be at most 3000": line(
            put("I", amount=Decimal("3000.01")), put("I", amount=Decimal("3000.00"))
        ),
        "article (I) values to be in set": line(put("I", article="FSKAVG")),
        "voucher_type values to be in set": line(put(voucher_type="F")),
    }
    orders = {k: v for k, v in f30.items() if k != "amount (I) values to be at most 5000"} | leisure
    return {
        "f102": f29,
        "f103": orders,
        "f104": orders,
        "a02": _a02(put, line, hundred, t),
        "h45": _h45(put, line, hundred, t),
        "ergo": _ergo(put, line, hundred, t),
        "lis_placements": _lis_placements(put, line, t),
        "lis_fees": _lis_fees(put, line, hundred, t),
        "profdoc_bosko": _profdoc(put, line, hundred, t),
        "novaschema": _novaschema(put, line, t),
    }


def _a02(put: Callable[..., Any], line: Any, hundred: Any, t: Tools) -> dict[str, Any]:
    none = Decimal("0.00")
    return {
        "voucher_no values to not be null": line(put(voucher_no=None)),
        "client voucher_type voucher_no sequence_no compound columns to be unique": line(
            t.same("voucher_no"), t.both(t.same("voucher_no"), put(sequence_no=2)), people=2
        ),
        "client values to be in set": line(put(client="SO")),
        "order_id values to be between 38000000 and 38999999": hundred(
            put(order_id=39000000), put(order_id=38999999)
        ),
        "kund_id values to not be null": line(put(kund_id=None, ext_ord_ref=None)),
        "kund_id values to be personal numbers": line(
            t.both(t.misprint("kund_id"), put(ext_ord_ref=None)), put(kund_id=t.COORDINATION, ext_ord_ref=None)
        ),
        "ext_ord_ref (with ext_ord_ref) to be equal to kund_id": hundred(
            put(ext_ord_ref=t.LEAP_DAY), put(ext_ord_ref=None)
        ),
        "fakturadatum values to not be null": line(put(fakturadatum=None, forfallodatum=None, kravdatum=None)),
        "forfallodatum to be at least fakturadatum": line(put(fakturadatum=AFTER, forfallodatum=DAY),
                                                          put(fakturadatum=LATER)),
        "kravdatum to be more than forfallodatum": hundred(put(kravdatum=LATER), put(kravdatum=date(2025, 12, 2))),
        "belopp values to not be null": line(put(belopp=None, status="A")),
        "restbelopp values to not be null": line(put(restbelopp=None, status="A")),
        "belopp (status D) to be more than restbelopp": line(put(status="D"),
                                                             put(status="D", restbelopp=Decimal("1120.99"))),
        "belopp (status O) to be equal to restbelopp": line(put(restbelopp=Decimal("1120.99"))),
        "restbelopp (status B) values to be in set": line(put(status="B", restbelopp=Decimal("0.01")),
                                                          put(status="B", restbelopp=none)),
        "restbelopp (status K) values to be in set": line(put(status="K"), put(status="K", restbelopp=none)),
        "senaste_betaldatum (status B) values to not be null": line(
            t.both(put(status="B", restbelopp=none), put(senaste_betaldatum=None)),
            put(status="K", restbelopp=none, senaste_betaldatum=None),
        ),
        "kravniva values to be between 0 and 9": line(put(kravniva=10), put(kravniva=9)),
        "kravniva (with kravdatum) values to not be null": hundred(put(kravniva=None),
                                                                   put(kravniva=None, kravdatum=None)),
        "kravniva (status I) values to be at least 1": line(put(status="I", kravniva=0), put(status="I")),
        "status values to not be null": line(put(status=None)),
        "status values to be in set": line(put(status="X"), put(status="A")),
        "ocr_referens values to be luhn": line(put(ocr_referens="123456791"), put(ocr_referens=None)),
    }  # fmt: skip


def _h45(put: Callable[..., Any], line: Any, hundred: Any, t: Tools) -> dict[str, Any]:
    def debit(**values: object) -> Any:
        return lambda rows: put(**values)(rows[:1])

    def credit(**values: object) -> Any:
        return lambda rows: put(**values)(rows[1:])

    def amounts(one: str, other: str) -> Any:
        return t.both(debit(amount=Decimal(one), cur_amount=Decimal(one)),
                      credit(amount=Decimal(other), cur_amount=Decimal(other)))  # fmt: skip

    return {
        "voucher_no values to not be null": line(put(voucher_no=None)),
        "voucher_no values to be at least 1": line(put(voucher_no=0), put(voucher_no=1)),
        "amount values to sum to zero within voucher_no": line(
            amounts("100.01", "-100.00"), amounts("100.01", "-100.01")
        ),
        "amount values to not be null": line(put(amount=None, cur_amount=None)),
        "amount values to be between -10000000 and 10000000": hundred(
            amounts("10000000.01", "-10000000.01"), amounts("10000000.00", "-10000000.00")
        ),
        "cur_amount to be equal to amount": line(put(cur_amount=Decimal("1.00"))),
        "dc_flag values to not be null": line(put(dc_flag=None)),
        "dc_flag values to be in set": line(put(dc_flag=2)),
        "amount (dc_flag 1) values to be at least 0.01": line(credit(dc_flag=1)),
        "amount (dc_flag -1) values to be at most -0.01": line(debit(dc_flag=-1)),
        "key values to not be null": line(put(key=None)),
        "key values to be unique": line(t.same("key"), people=2),
        "account values to not be null": line(put(account=None)),
        "account values to match regex": line(put(account="9011"), put(account="8999")),
        "dim_1 values to not be null": line(put(dim_1=None)),
        "dim_1 values to match regex": line(put(dim_1=NO_UNIT)),
        "dim_2 values to not be null": hundred(put(dim_2=None)),
        "dim_2 values to match regex": hundred(put(dim_2="41")),
        "voucher_date values to not be null": line(put(voucher_date=None)),
        "period values to not be null": line(put(period=None)),
        "period values to match regex": line(put(period="202613"), put(period="202612")),
        "voucher_date values to have one value within voucher_no": line(
            debit(voucher_date=AFTER), put(voucher_date=AFTER)
        ),
        "description values to not be null": hundred(put(description=None)),
        "description values to hold no personal number": line(
            put(description="Resa 850301-9820"), put(description="Faktura 20261301-1234, 085081234567")
        ),
        "interface values to be in set": line(put(interface="BI")),
        "voucher_type values to be in set": line(put(voucher_type="HL")),
        "trans_type values to be in set": line(put(trans_type="AR")),
        "client values to be in set": line(put(client="SO")),
        "currency values to not be null": line(put(currency=None)),
        "currency values to be in set": line(put(currency="NOK")),
        "tax_code values to be in set": line(put(tax_code="1")),
        "batch_id values to match regex": line(put(batch_id="H4526011")),
    }


def _pupil(put: Callable[..., Any], line: Any, t: Tools) -> dict[str, Any]:
    return {
        "personnr values to not be null": line(put(personnr=None)),
        "personnr values to be personal numbers": line(t.misprint("personnr"), put(personnr=t.COORDINATION)),
    }


def _ergo(put: Callable[..., Any], line: Any, hundred: Any, t: Tools) -> dict[str, Any]:
    return _pupil(put, line, t) | {
        "personnr values to be unique": line(t.same("personnr"), people=2),
        "fornamn values to not be null": line(put(fornamn=None)),
        "namn values to not be null": line(put(namn=None)),
        "namn values to match regex": line(put(namn="Åslög Ängsvik"), put(namn="Ö, É")),
        "skol_id values to not be null": line(put(skol_id=None)),
        "skol_id values to match regex": line(put(skol_id=NO_UNIT)),
        "arskurs values to not be null": line(put(arskurs=None)),
        "arskurs values to be in set": line(put(arskurs="10"), put(arskurs="F")),
        "klass values to not be null": hundred(put(klass=None)),
        "klass values to match regex": hundred(put(klass="10A"), put(klass="FÖ")),
    }


def _lis_placements(put: Callable[..., Any], line: Any, t: Tools) -> dict[str, Any]:
    return _pupil(put, line, t) | {
        "avlasningsdatum values to not be null": line(put(avlasningsdatum=None)),
        "avlasningsdatum values to have one value within record_type": None,  # of the whole file: a test of its own
        "personnr skol_id grupp_id startdatum compound columns to be unique": line(
            t.same("personnr"), t.both(t.same("personnr"), put(startdatum=LATER)), people=2
        ),
        "skol_id values to not be null": line(put(skol_id=None)),
        "skol_id values to match regex": line(put(skol_id=NO_UNIT)),
        "grupp_id values to not be null": line(put(grupp_id=None), times=18, tolerated=17),
        "verksamhetsform values to not be null": line(put(verksamhetsform=None)),
        "verksamhetsform values to be in set": line(put(verksamhetsform="GR"), put(verksamhetsform="FRH")),
        "startdatum values to not be null": line(put(startdatum=None)),
        "avlasningsdatum to be at least startdatum": line(put(startdatum=date(2026, 1, 16)), put(startdatum=READ)),
        "slutdatum to be at least avlasningsdatum": line(put(slutdatum=date(2026, 1, 14)), put(slutdatum=READ)),
    }


def _lis_fees(put: Callable[..., Any], line: Any, hundred: Any, t: Tools) -> dict[str, Any]:
    return _pupil(put, line, t) | {
        "avlasningsdatum values to not be null": line(put(avlasningsdatum=None)),
        "avlasningsdatum values to have one value within record_type": None,  # of the whole file: a test of its own
        "personnr skola grupp placeringsdatum compound columns to be unique": line(
            t.same("personnr"), t.both(t.same("personnr"), put(placeringsdatum=BEFORE)), people=2
        ),
        "skola values to not be null": line(put(skola=None)),
        "skola values to match regex": line(put(skola=NO_UNIT)),
        "form values to not be null": line(put(form=None)),
        "form values to be in set": line(put(form="GR"), put(form="FSK")),
        "placeringsdatum values to not be null": line(put(placeringsdatum=None)),
        "taxekategori values to not be null": line(put(taxekategori=None)),
        "taxekategori values to match regex": line(put(taxekategori="FRH1"), put(taxekategori="FSK99")),
        "giltig_from values to not be null": line(put(giltig_from=None)),
        "avlasningsdatum to be at least giltig_from": line(put(giltig_from=date(2026, 1, 16)), put(giltig_from=READ)),
        "giltig_tom to be at least avlasningsdatum": line(put(giltig_tom=date(2026, 1, 14)), put(giltig_tom=READ)),
        "giltig_from to be at least placeringsdatum": hundred(put(giltig_from=BEFORE), put(giltig_from=DAY)),
    }


def _profdoc(put: Callable[..., Any], line: Any, hundred: Any, t: Tools) -> dict[str, Any]:
    return _pupil(put, line, t) | {
        "personnr values to be unique": line(t.same("personnr"), people=2),
        "efternamn values to not be null": line(put(efternamn=None)),
        "fornamn values to not be null": line(put(fornamn=None)),
        "sekretess values to not be null": line(put(sekretess=None)),
        "sekretess (protected True) values to be in set": line(put(protected=True), put(protected=True, sekretess="J")),
        "sekretess (protected False) values to be in set": line(put(sekretess="J")),
        "skolenhetskod values to not be null": line(put(skolenhetskod=None)),
        "skolenhetskod values to match regex": line(put(skolenhetskod=NO_UNIT)),
        "skola values to not be null": line(put(skola=None)),
        "arskurs values to not be null": line(put(arskurs=None)),
        "arskurs values to be in set": line(put(arskurs="10"), put(arskurs="9")),
        "klass values to not be null": hundred(put(klass=None)),
        "postnr values to match regex": hundred(put(postnr="01646"), put(postnr=None)),
        "gatuadress (protected False) values to not be null": line(put(gatuadress=None), times=18, tolerated=16),
        "vh1_personnr (protected False) values to not be null": line(put(vh1_personnr=None), times=71, tolerated=66),
        "vh1_personnr values to be personal numbers": line(
            t.misprint("vh1_personnr"), put(vh1_personnr=t.COORDINATION)
        ),
        "vh2_personnr values to be personal numbers": line(t.misprint("vh2_personnr"), put(vh2_personnr=None)),
        "vh1_personnr to be different from vh2_personnr": line(
            put(vh1_personnr=t.LEAP_DAY, vh2_personnr=t.LEAP_DAY), put(vh1_personnr=t.LEAP_DAY, vh2_personnr=None)
        ),
        "vh1_telefon values to match regex": hundred(put(vh1_telefon="saknas"), put(vh1_telefon=None)),
        "startdatum values to not be null": line(put(startdatum=None)),
        "slutdatum to be at least startdatum": line(put(slutdatum=BEFORE), put(slutdatum=DAY)),
    }


def _novaschema(put: Callable[..., Any], line: Any, t: Tools) -> dict[str, Any]:
    one, upto = {"times": 1}, 600
    return {
        "signatur (teacher) values to not be null": line(put("teacher", signatur=None)),
        "efternamn (teacher) values to not be null": line(put("teacher", efternamn=None)),
        "grupp (group) values to not be null": line(t.both(put("group", grupp=None), t.without("absence"))),
        "grupp (group) values to be unique": line(t.both(t.same_of("group", "grupp"), t.without("absence")), people=2),
        "kurs (group) values to not be null": line(put("group", kurs=None)),
        "kurs (group) values to match regex": line(put("group", kurs="matmat01"), put("group", kurs="SVESVE03")),
        "amne (subject) values to not be null": line(put("subject", amne=None)),
        "namn (subject) values to not be null": line(put("subject", namn=None)),
        "personnr (student) values to not be null": line(t.both(put("student", personnr=None), t.without("absence"))),
        "personnr (student) values to be personal numbers": line(
            t.both(t.without("absence"), t.misprint("personnr")),
            t.both(t.without("absence"), put("student", personnr=t.COORDINATION)),
        ),
        "personnr (student) values to be unique": line(
            t.both(t.same_of("student", "personnr"), t.without("absence")), people=2
        ),
        "efternamn (student) values to not be null": line(put("student", efternamn=None)),
        "klass (student) values to not be null": line(put("student", klass=None), times=18, tolerated=17),
        "kursgrupper (student) values to not be null": line(put("student", kursgrupper=None)),
        "personnr (absence) values to have a record student": line(t.without("student"), t.without("absence"), **one),
        "grupp (absence) values to have a record group": line(t.without("group"), t.without("absence"), **one),
        "datum (absence) values to not be null": line(put("absence", datum=None)),
        "minuter (absence) values to be between 1 and 600": line(
            put("absence", minuter=601), put("absence", minuter=upto)
        ),
        "giltig (absence) values to be in set": line(put("absence", giltig="X"), put("absence", giltig="N")),
    }
