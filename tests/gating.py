"""What the gate's tests share: two databases, rows that everything holds for, and a gate over them."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from functools import cache
from itertools import count
from typing import Any

import pyarrow as pa
import pytest

from sandbox import bosko
from sandbox.identities import number
from sandbox.postgres import Server
from sandbox.stack import FIRST_DAY
from slussen import settings
from slussen.database import connect, migrate
from slussen.extraction import stage_schema
from slussen.manifest import Manifest
from slussen.quality.gate import run_gate
from slussen.quality.report import GateReport
from slussen.records import layout as layouts
from slussen.records import stage
from tests import gating_bosko as more

Row = dict[str, Any]
Databases = tuple[str, str]  # the application's connection strings: slussen, bosko

PEOPLE = 350  # so that three bad records are within a tolerance of one in a hundred, and four are not
NAME = "Åslög Ängsvik"
STREET = "Götgatan 17"
LAYOUT = {"f29": "agresso_cs15", "f30": "agresso_lg04", "kir": "navet_utfil", "kir_mvs": "pknod", "skv": "navet_infil",
          **more.LAYOUT}  # fmt: skip
KIND: dict[str, Any] = {"f29": "extract", "f30": "extract", "kir": "load", "kir_mvs": "extract", "skv": "relay",
                        **more.KIND}  # fmt: skip
POLICY = {"f29": "mask", "f30": "mask", "kir": "pass", "kir_mvs": "mask", "skv": "pass", **more.POLICY}
NUMBERS = [number(FIRST_DAY.replace(year=1950 + n % 60, day=1 + n % 28), 980 + n // 60) for n in range(PEOPLE)]
TABLES = count(1)


@cache
def made(server: Server) -> tuple[str, str]:
    dsns = [server.dsn(f"gate_{name}") for name in ("slussen", "bosko")]
    for name, dsn in zip(("slussen", "bosko"), dsns, strict=True):
        migrate(dsn, settings.SQL / "migrations" / name)
    bosko.fill(dsns[1], 5, 60, FIRST_DAY)
    return dsns[0], dsns[1]


@pytest.fixture(scope="session")
def superuser(postgres: Server) -> Databases:
    """The slussen database and a bosko with a small population, as those who may do everything."""
    return made(postgres)


@pytest.fixture(scope="session")
def databases(superuser: Databases) -> Databases:
    """The same, as the application."""
    return f"{superuser[0]} user=slussen", f"{superuser[1]} user=slussen"


def persons(key: str, numbers: list[str] = NUMBERS) -> list[list[Row]]:
    """For each person the records of an interchange that everything holds for."""
    return [_records(key, n, who) for n, who in enumerate(numbers)]


def _records(key: str, n: int, who: str) -> list[Row]:
    base: Row = {"person": who, "protected": False}
    match key:
        case "f103" | "f104":  # as F30, of school-age care
            lines = _records("f30", n, who)
            return [r | {"voucher_type": "FU" if key == "f103" else "FI"}
                    | ({"article": "FRHAVG"} if r["record_type"] == "I" else {}) for r in lines]  # fmt: skip
        case key if key in more.LAYOUT and key != "f102":
            return more.records(key, n, who, NUMBERS[n - 1])
        case "f29" | "f102":
            return [base | {
                "record_type": "customer", "comp_reg_no": who, "apar_id": str(n), "apar_name": NAME, "address1": STREET,
                "address4": "Stockholm", "zip_code": "11646", "country_code": "SE", "currency": "SEK", "client": "ST",
                "apar_gr_id": "10", "pay_method": "IP", "e_mail": "a.b@example.org", "telephone_1": "08-508 00 000",
            }]  # fmt: skip
        case "f30":
            base |= {"order_id": 38000000 + n, "client": "ST", "trans_type": "42", "voucher_type": "FU",
                     "batch_id": "FD260112"}  # fmt: skip
            return [
                base | {"record_type": "H", "line_no": 0, "ext_ord_ref": who, "period": 202601, "currency": "SEK",
                        "confirm_date": date(2026, 1, 12), "deliv_date": date(2026, 1, 12)},
                base | {"record_type": "I", "line_no": 1, "sequence_no": 0, "amount": Decimal("1121.00"), "key": str(n),
                        "value_1": Decimal("1.00"), "amount_set": "1", "art_descr": "Avgift", "article": "FSKAVG"},
                base | {"record_type": "T", "line_no": 1, "sequence_no": 1, "short_info": f"Avser {NAME}"},
            ]  # fmt: skip
        case "kir":
            return [
                {"record_type": "person", "group_no": 0, "personnummer": who, "efternamn": "Ängsvik",
                 "fornamn": "Åslög", "tilltalsnamnsmarkering": "10", "fb_postnr": "11646", "sp_postnr": "40320",
                 "folkbokforingsdatum": "20110315", "civilstand": "OG", "civilstand_datum": "20110300",
                 "avregistreringsorsak": "UV", "avregistreringsdatum": "20251201"},
                {"record_type": "relation", "group_no": 1, "relationstyp": "V", "relation_personnummer": who},
                {"record_type": "medborgarskap", "group_no": 1, "medborgarskap_land": "SE"},
            ]  # fmt: skip
        case "kir_mvs":
            return [base | {
                "record_type": "person", "pnr_rnr": who, "aktuellt_pnr": who, "pnr_samhorig": who, "namn": NAME.upper(),
                "adress": STREET.upper(), "postort": "STOCKHOLM", "postnummer": "11646", "fodelsedatum": who[:8],
                "civilstand": "A", "civilstandsdatum": "20110315", "senaste_reg_datum": "20260112", "returkod": "0000",
                "personidtyp": "1", "avgangskod": "2", "lan": "01", "kommun": "80",
            }]  # fmt: skip
    return [{"record_type": "question", "group_no": 0, "personnummer": who}]


def staged(databases: Databases, key: str, groups: list[list[Row]]) -> Manifest:
    """These records as an interchange's stage; each gets its number."""
    layout = layouts.load(LAYOUT[key])
    schema = stage_schema(layout) if KIND[key] == "extract" else layout.schema
    table = f"t{next(TABLES)}"
    rows = [row for group in groups for row in group]
    totals: dict[str, int] = {"rows": len(rows)}
    for n, row in enumerate(rows, 1):
        row["record_no"] = n
        kind = f"records.{row['record_type']}"
        totals[kind] = totals.get(kind, 0) + 1
    columns = [pa.array([r.get(f.name) for r in rows], f.type) for f in schema]
    with connect(databases[0]) as connection:
        stage.create(connection, table, schema)
        stage.copy_in(connection, table, [pa.RecordBatch.from_arrays(columns, schema=schema)])
    return Manifest(
        integration=key, interchange=f"{key}-1", name="file.txt", stage=table, records=len(rows), totals=totals
    )


def judge(databases: Databases, manifest: Manifest, **more: Any) -> GateReport:
    """Run the gate over this stage."""
    key = manifest.integration
    usual: dict[str, Any] = {"policy": POLICY[key], "kind": KIND[key]}
    return run_gate(
        manifest=manifest, layout=layouts.load(LAYOUT[key]), stage_dsn=databases[0], bosko_dsn=databases[1],
        **usual | more,
    )  # fmt: skip


def gate(databases: Databases, key: str, groups: list[list[Row]], **more: Any) -> GateReport:
    """Stage these records and run the gate over them."""
    return judge(databases, staged(databases, key, groups), **more)
