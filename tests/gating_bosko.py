"""BoSko's and HANNA's further rows for the gate's tests: records that everything holds for."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

Row = dict[str, Any]
LAYOUT = {"a02": "a02", "f102": "agresso_cs15", "f103": "agresso_lg04", "f104": "agresso_lg04", "h45": "agresso_gl07",
          "ergo": "ergo", "lis_placements": "lis_placements", "lis_fees": "lis_fees", "profdoc_bosko": "profdoc",
          "novaschema": "novaschem"}  # fmt: skip
KIND: dict[str, Any] = {key: "load" if key == "a02" else "extract" for key in LAYOUT}
POLICY = {"a02": "pass", "f102": "mask", "f103": "mask", "f104": "mask", "h45": "none", "ergo": "block",
          "lis_placements": "block", "lis_fees": "block", "profdoc_bosko": "mask", "novaschema": "block"}  # fmt: skip
DAY, LATER, LATEST = date(2025, 8, 18), date(2025, 12, 1), date(2026, 6, 12)
READ = date(2026, 1, 15)


def records(key: str, n: int, who: str, other: str) -> list[Row]:
    """The records of one person; ``other`` is somebody else."""
    base: Row = {"person": who, "protected": False, "record_type": "record", "personnr": who}
    match key:
        case "a02":
            return [{
                "record_type": "post", "client": "ST", "apar_id": n, "kund_id": who, "voucher_type": "FU",
                "voucher_no": 70000000 + n, "sequence_no": 1, "order_id": 38000000 + n, "ext_ord_ref": who,
                "fakturadatum": DAY, "forfallodatum": LATER, "belopp": Decimal("1121.00"),
                "restbelopp": Decimal("1121.00"), "status": "O", "senaste_betaldatum": LATER, "kravniva": 1,
                "kravdatum": LATEST, "ocr_referens": "12345679" + "0",
            }]  # fmt: skip
        case "h45":
            return [{
                "record_type": "voucher", "protected": False, "key": f"{n}/{side}", "batch_id": "H45260112",
                "interface": "BOSKO", "voucher_type": "HB", "trans_type": "GL", "client": "ST", "account": account,
                "dim_1": "18020001", "dim_2": "410", "tax_code": "0", "currency": "SEK", "dc_flag": side,
                "cur_amount": Decimal(side * 100), "amount": Decimal(side * 100), "description": "Läromedel 2026",
                "trans_date": DAY, "voucher_date": DAY, "voucher_no": 4500001 + n, "period": "202601", "status": "N",
            } for side, account in ((1, "4011"), (-1, "1930"))]  # fmt: skip
        case "ergo":
            return [base | {"fornamn": "Åslög", "namn": "Ängsvik, Åslög", "skol_id": "18020001", "arskurs": "4",
                            "klass": "4B"}]  # fmt: skip
        case "lis_placements":
            return [base | {"avlasningsdatum": READ, "skol_id": "18010001", "grupp_id": "Avd 1",
                            "verksamhetsform": "FSK", "startdatum": DAY, "slutdatum": LATEST}]  # fmt: skip
        case "lis_fees":
            return [base | {"avlasningsdatum": READ, "skola": "18010001", "grupp": "Avd 1", "form": "FRH",
                            "placeringsdatum": DAY, "taxekategori": "FRH01", "giltig_from": LATER,
                            "giltig_tom": LATEST}]  # fmt: skip
        case "profdoc_bosko":
            return [base | {
                "efternamn": "Ängsvik", "fornamn": "Åslög", "sekretess": "N", "skolenhetskod": "18020001",
                "skola": "Åsöskolan", "arskurs": "4", "klass": "4B", "gatuadress": "Götgatan 17", "postnr": "11646",
                "postort": "Stockholm", "vh1_personnr": other, "vh1_telefon": "08-508 00 000", "vh2_personnr": who,
                "startdatum": DAY, "slutdatum": LATEST,
            }]  # fmt: skip
    group, course = f"MATMAT01a-{n}", "MATMAT01a"
    nobody: Row = {"protected": False}
    return [
        nobody | {"record_type": "teacher", "signatur": "MA1", "efternamn": "Ängsvik", "fornamn": "Åslög"},
        nobody | {"record_type": "group", "grupp": group, "kurs": course},
        base | {"record_type": "student", "efternamn": "Ängsvik", "fornamn": "Åslög", "klass": "NA23A",
                "kursgrupper": group},
        nobody | {"record_type": "subject", "amne": "MA", "namn": "Matematik"},
        base | {"record_type": "absence", "grupp": group, "datum": DAY, "minuter": 40, "giltig": "J"},
    ]  # fmt: skip
