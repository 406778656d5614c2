"""The gate, with Great Expectations on a real PostgreSQL: what each rule stops, and that no value shows."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from itertools import count
from typing import Any

import ebcdic  # noqa: F401 (registers the codecs)
import psycopg
import pyarrow as pa
import pytest

from sandbox import bosko
from sandbox.identities import number
from sandbox.population import canaries
from sandbox.postgres import Server
from sandbox.stack import FIRST_DAY
from slussen import persons, settings
from slussen.canaries import Canaries
from slussen.database import connect, migrate
from slussen.errors import CallError, Finding, TechnicalError
from slussen.extraction import stage_schema
from slussen.keys import keyed
from slussen.manifest import Manifest
from slussen.quality import expectations
from slussen.quality import suite as suites
from slussen.quality.gate import run_gate
from slussen.quality.report import GateReport
from slussen.records import layout as layouts
from slussen.records import stage

TABLES = count(1)
ROWS = 300  # so that one bad row is within a tolerance of one in a hundred
NAME = "Åslög Ängsvik"
LAYOUT = {"f29": "agresso_cs15", "f30": "agresso_lg04", "kir": "navet_utfil", "kir_mvs": "pknod", "skv": "navet_infil"}
KIND: dict[str, Any] = {"f29": "extract", "f30": "extract", "kir": "load", "kir_mvs": "extract", "skv": "relay"}
POLICY = {"f29": "mask", "f30": "mask", "kir": "pass", "kir_mvs": "mask", "skv": "pass"}
NUMBERS = [number(FIRST_DAY.replace(year=1950 + n % 60, day=1 + n % 28), 980 + n // 60) for n in range(ROWS)]
Row = dict[str, Any]


@pytest.fixture(scope="module")
def databases(postgres: Server) -> tuple[str, str]:
    """The slussen and bosko databases, with a small population in it."""
    names = {name: postgres.dsn(f"gate_{name}") for name in ("slussen", "bosko")}
    for name, dsn in names.items():
        migrate(dsn, settings.SQL / "migrations" / name)
    bosko.fill(names["bosko"], 5, 60, FIRST_DAY)
    return f"{names['slussen']} user=slussen", f"{names['bosko']} user=slussen"


def good(key: str) -> list[Row]:
    """Rows that everything holds for."""
    rows: list[Row] = []
    for n, who in enumerate(NUMBERS):
        base: Row = {"record_no": n + 1, "person": who, "protected": False}
        match key:
            case "f29":
                rows.append(base | {"record_type": "customer", "comp_reg_no": who, "apar_name": NAME,
                                    "zip_code": "11646", "address1": "Götgatan 1", "country_code": "SE",
                                    "currency": "SEK"})  # fmt: skip
            case "f30":
                order = {"order_id": 38000000 + n}
                rows += [
                    base | order | {"record_type": "H", "line_no": 0, "ext_ord_ref": who, "period": 202601},
                    base | order | {"record_type": "I", "line_no": 1, "sequence_no": 0, "amount": Decimal("1121.00"),
                                    "art_descr": "Avgift", "key": str(n)},
                    base | order | {"record_type": "T", "line_no": 1, "sequence_no": 1, "short_info": f"Avser {NAME}"},
                ]  # fmt: skip
            case "kir":
                rows += [
                    base | {"record_type": "person", "group_no": 0, "personnummer": who, "efternamn": "Ängsvik",
                            "fornamn": "Åslög", "fb_postnr": "11646"},
                    base | {"record_type": "relation", "group_no": 1, "relationstyp": "V"},
                    base | {"record_type": "medborgarskap", "group_no": 1, "medborgarskap_land": "SE"},
                ]  # fmt: skip
            case "kir_mvs":
                rows.append(base | {"record_type": "person", "pnr_rnr": who, "namn": NAME.upper(), "civilstand": "A",
                                    "postnummer": "11646", "returkod": "0000"})  # fmt: skip
            case "skv":
                rows.append(base | {"record_type": "question", "group_no": 0, "personnummer": who})
    return rows


def staged(databases: tuple[str, str], key: str, rows: list[Row]) -> Manifest:
    """These rows as an interchange's stage."""
    layout = layouts.load(LAYOUT[key])
    schema = stage_schema(layout) if KIND[key] == "extract" else layout.schema
    table = f"t{next(TABLES)}"
    columns = [pa.array([r.get(f.name) for r in rows], f.type) for f in schema]
    with connect(databases[0]) as connection:
        stage.create(connection, table, schema)
        stage.copy_in(connection, table, [pa.RecordBatch.from_arrays(columns, schema=schema)])
    kinds: dict[str, int] = {}
    for r in rows:
        kinds[r["record_type"]] = kinds.get(r["record_type"], 0) + 1
    totals = {f"records.{k}": n for k, n in kinds.items()} | {"rows": len(rows)}
    return Manifest(
        integration=key, interchange=f"{key}-1", name="file.txt", stage=table, records=len(rows), totals=totals
    )


def gate(databases: tuple[str, str], key: str, rows: list[Row], **more: Any) -> GateReport:
    return run_gate(
        manifest=staged(databases, key, rows), layout=layouts.load(LAYOUT[key]), policy=POLICY[key], kind=KIND[key],
        stage_dsn=databases[0], bosko_dsn=databases[1], **more,
    )  # fmt: skip


@pytest.mark.parametrize("key", LAYOUT)
def test_what_is_right_passes(databases: tuple[str, str], key: str) -> None:
    report = gate(databases, key, good(key))
    assert report.verdict == "pass", report.table()


def spoil(
    column: str, value: object, *, only: str = "", times: int = 1, like: int | None = None
) -> Callable[[list[Row]], None]:
    """Put a value into a column of the first rows (of a type)."""

    def change(rows: list[Row]) -> None:
        chosen = [r for r in rows if not only or r["record_type"] == only]
        for r in chosen[1 : 1 + times]:
            r[column] = chosen[like][column] if like is not None else value

    return change


# For each line of each suite, in order: rows that only this line stops, and the verdict.
STOPPED: dict[str, list[tuple[Callable[[list[Row]], None], str]]] = {
    "f29": [
        (spoil("comp_reg_no", None), "fail"),
        (spoil("comp_reg_no", "195001029805"), "fail"),
        (spoil("comp_reg_no", None, like=0), "fail"),
        (spoil("apar_name", None), "fail"),
        (spoil("zip_code", "1164"), "fail"),
        (spoil("zip_code", None, times=4), "hold"),
        (spoil("address1", None, times=4), "hold"),
        (spoil("country_code", "NO"), "fail"),
        (spoil("currency", "NOK"), "fail"),
    ],
    "f30": [
        (spoil("order_id", None, only="T"), "fail"),
        (spoil("order_id", 37999999, only="T"), "fail"),
        (spoil("line_no", 1, only="H"), "pass"),
        (spoil("ext_ord_ref", None, only="H"), "fail"),
        (spoil("ext_ord_ref", "195001029805", only="H"), "fail"),
        (spoil("period", 20261, only="H"), "fail"),
        (spoil("amount", None, only="I"), "fail"),
        (spoil("amount", Decimal("50000"), only="I", times=2), "hold"),
        (spoil("key", None, only="I"), "fail"),
        (spoil("key", None, only="I", like=0), "fail"),
        (spoil("art_descr", None, only="I"), "fail"),
        (spoil("short_info", None, only="T"), "fail"),
    ],
    "kir": [
        (spoil("personnummer", None, only="person"), "fail"),
        (spoil("personnummer", "195001029805", only="person"), "fail"),
        (spoil("efternamn", None, only="person"), "fail"),
        (spoil("fornamn", None, only="person", times=4), "hold"),
        (spoil("fb_postnr", "0", only="person"), "hold"),
        (spoil("avregistreringsorsak", "XX", only="person"), "fail"),
        (spoil("relationstyp", "XX", only="relation"), "fail"),
        (spoil("medborgarskap_land", None, only="medborgarskap"), "fail"),
    ],
    "kir_mvs": [
        (lambda rows: rows.clear(), "fail"),
        (spoil("pnr_rnr", None), "fail"),
        (spoil("pnr_rnr", "195001029805"), "fail"),
        (spoil("pnr_rnr", None, like=0), "fail"),
        (spoil("namn", None), "fail"),
        (spoil("civilstand", "X"), "fail"),
        (spoil("postnummer", "0"), "hold"),
        (spoil("returkod", "0002"), "fail"),
    ],
    "skv": [
        (lambda rows: rows.clear(), "fail"),
        (spoil("personnummer", None), "fail"),
        (spoil("personnummer", "195001029805"), "fail"),
        (spoil("personnummer", None, like=0, times=5), "hold"),
    ],
}


@pytest.mark.parametrize(("key", "line"), [(k, n) for k, v in STOPPED.items() for n in range(len(v))])
def test_each_line_of_a_suite_stops_what_no_other_does(databases: tuple[str, str], key: str, line: int) -> None:
    change, verdict = STOPPED[key][line]
    rows = good(key)
    if key == "f30" and line == 2:  # a line twice: the same order, line and sequence
        rows.append(dict(rows[1], record_no=9999, key="twice"))
        verdict = "fail"
    else:
        change(rows)
    report = gate(databases, key, rows)
    suite = suites.load(key)
    stopped = [c.rule for c in report.checks if not c.ok]
    assert stopped == [str(suite.expectations[line])]
    assert report.verdict == verdict


def test_every_line_of_every_suite_is_tried() -> None:
    assert {k: len(v) for k, v in STOPPED.items()} == {k: len(suites.load(k).expectations) for k in LAYOUT}


def test_a_warning_within_its_tolerance_is_a_remark(databases: tuple[str, str]) -> None:
    rows = good("f29")
    spoil("zip_code", None, times=2)(rows)
    report = gate(databases, "f29", rows)
    assert report.verdict == "warn"
    assert [(c.unexpected, c.records) for c in report.checks if c.tolerated] == [(2, [2, 3])]


def test_no_value_is_in_the_report_whatever_fails(databases: tuple[str, str], caplog: pytest.LogCaptureFixture) -> None:
    rows = good("f29")
    for column in ("comp_reg_no", "zip_code", "country_code", "currency"):
        spoil(column, "HEMLIGT", times=3)(rows)
    report = gate(databases, "f29", rows)
    text = (
        json.dumps(report.as_dict(), ensure_ascii=False)
        + report.table()
        + "".join(map(str, report.findings))
        + caplog.text
    )
    assert "HEMLIGT" not in text
    assert NAME not in text
    assert not any(n in text for n in NUMBERS)
    assert GateReport.from_dict(json.loads(json.dumps(report.as_dict()))).table() == report.table()
    assert {f.record for f in report.findings} == {2, 3, 4}
    assert {(f.field, f.column) for f in report.findings} == {
        ("comp_reg_no", 132), ("zip_code", 1480), ("country_code", 847), ("currency", 178)
    }  # fmt: skip


@pytest.mark.parametrize("fault", ["crash", "missing column", "unknown table"])
def test_a_gate_that_cannot_finish_is_closed_and_says_nothing_of_the_data(
    databases: tuple[str, str], fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = staged(databases, "f29", good("f29"))
    if fault == "crash":
        monkeypatch.setattr(expectations, "_run", lambda *a: (_ for _ in ()).throw(ValueError(f"bad value {NAME}")))
    elif fault == "missing column":
        with psycopg.connect(databases[0]) as connection:
            connection.execute(f'alter table stage."{manifest.stage}" drop column zip_code'.encode())
    else:
        manifest = manifest.but(stage="nowhere")
    with pytest.raises(TechnicalError) as caught:
        run_gate(manifest=manifest, layout=layouts.load("agresso_cs15"), policy="mask", kind="extract",
                 stage_dsn=databases[0], bosko_dsn=databases[1])  # fmt: skip
    assert NAME not in str(caught.value)


def test_a_stage_that_was_emptied_by_a_crash_does_not_pass(databases: tuple[str, str]) -> None:
    manifest = staged(databases, "f29", good("f29"))
    with psycopg.connect(databases[0]) as connection:
        connection.execute(f'delete from stage."{manifest.stage}" where record_no > 100'.encode())
    with pytest.raises(TechnicalError, match="the stage is made again"):
        run_gate(manifest=manifest, layout=layouts.load("agresso_cs15"), policy="mask", kind="extract",
                 stage_dsn=databases[0], bosko_dsn=databases[1])  # fmt: skip


def test_what_the_parser_found_fails_the_gate_with_its_place(databases: tuple[str, str]) -> None:
    found = Finding("undefined_byte", "byte 81 does not exist in cp1252", record=3, column=12, offset=99, byte="81")
    report = gate(databases, "kir", good("kir"), findings=[found], counts={"undefined_byte": 1})
    assert report.verdict == "fail"
    assert "record 3" in str(report.findings[0])


def test_a_control_total_that_disagrees_fails(databases: tuple[str, str]) -> None:
    manifest = staged(databases, "skv", good("skv"))
    manifest = manifest.but(totals={**manifest.totals, "declared": ROWS + 1, "records": ROWS})
    report = run_gate(manifest=manifest, layout=layouts.load("navet_infil"), policy="pass", kind="relay",
                      stage_dsn=databases[0], bosko_dsn=databases[1])  # fmt: skip
    assert [c.rule for c in report.checks if not c.ok] == ["control total"]


# --- references


def test_an_invoice_needs_its_customer_in_a_delivered_interchange(databases: tuple[str, str]) -> None:
    with psycopg.connect(databases[0]) as connection:
        for who, key in zip(NUMBERS, keyed(NUMBERS), strict=True):
            interchange = "f29-held" if who == NUMBERS[7] else "f29-sent"
            connection.execute("insert into sent.key values ('f29', %s, 'customer', %s)", (interchange, key))
    report = gate(databases, "f30", good("f30"), references=["f29-sent"])
    check = next(c for c in report.checks if c.rule == "customers of invoices were delivered")
    assert (check.ok, check.unexpected, check.records) == (False, 1, [8])
    assert gate(databases, "f30", good("f30"), references=["f29-sent", "f29-held"]).verdict == "pass"


# --- protected persons


def protected_rows(key: str, *, flagged: bool = True) -> list[Row]:
    rows = good(key)
    who = canaries()[0].personnr
    match key:
        case "f29":
            rows[0] |= {"comp_reg_no": who, "person": who, "protected": flagged}
        case "kir":
            rows[0] |= {"personnummer": who, "sekretessmarkering": "J" if flagged else None}
        case "skv":
            rows[0] |= {"personnummer": who}
    return rows


@pytest.mark.parametrize("key", ["f29", "kir", "skv"])
def test_a_protected_person_is_counted(databases: tuple[str, str], key: str) -> None:
    report = gate(databases, key, protected_rows(key))
    assert report.verdict == "pass", report.table()
    assert report.protected == {"in": 1, "masked" if key == "f29" else "passed": 1}
    assert report.register["protected"] >= 2


def test_an_extract_that_lost_one_flag_fails(databases: tuple[str, str]) -> None:
    report = gate(databases, "f29", protected_rows("f29", flagged=False))
    check = next(c for c in report.checks if not c.ok)
    assert (check.rule, check.records, report.verdict) == ("conservation of the protected set", [1], "fail")


def test_a_population_file_that_lost_one_flag_is_held_unless_it_says_why(databases: tuple[str, str]) -> None:
    rows = protected_rows("kir", flagged=False)
    assert gate(databases, "kir", rows).verdict == "hold"
    rows[0]["arendetyp"] = "3"
    assert gate(databases, "kir", rows).verdict == "pass"


@pytest.mark.parametrize(
    ("before", "verdict"),
    [
        (None, "pass"),
        ({"protected": 0, "net": 0}, "pass"),
        ({"protected": 1, "net": 0}, "hold"),  # one more than the register has now, and no file took it away
        ({"protected": 1, "net": 1}, "pass"),  # a file did
    ],
)
def test_the_registers_own_loss_is_held_unless_a_file_explains_it(
    databases: tuple[str, str], before: dict[str, int] | None, verdict: str
) -> None:
    now = gate(databases, "f29", good("f29")).register
    previous = {"register": {k: now[k] + v for k, v in before.items()}} if before is not None else None
    assert gate(databases, "f29", good("f29"), previous=previous).verdict == verdict


def masked(policy: str) -> tuple[list[Row], persons.Counts]:
    layout = layouts.load("pknod")
    schema = stage_schema(layout)
    people = zip(NUMBERS[:3], (True, False, None), strict=True)
    rows = [{"record_type": "person", "record_no": n, "namn": NAME, "adress": "Götgatan 1", "postnummer": "11646",
             "returkod": "0000", "pnr_rnr": who, "fastighetsbeteckning": "X 1", "lan": "01", "kommun": "80",
             "civilstand": "A", "protected": flag} for n, (who, flag) in enumerate(people)]  # fmt: skip
    columns = [pa.array([r.get(f.name) for r in rows], f.type) for f in schema]
    batch, counts = persons.apply(pa.RecordBatch.from_arrays(columns, schema=schema), layout, policy)
    return batch.to_pylist(), counts


def test_mask_empties_what_the_layout_marks_and_nothing_else() -> None:
    rows, counts = masked("mask")
    kept = {k: v for k, v in rows[0].items() if v is not None}
    assert kept == {"record_type": "person", "record_no": 0, "returkod": "0002", "postnummer": "00000", "lan": "01",
                    "kommun": "98", "pnr_rnr": NUMBERS[0], "civilstand": "A", "protected": True}  # fmt: skip
    assert [r["namn"] for r in rows[1:]] == [NAME, NAME]
    assert counts.conserved
    assert counts.as_dict() == {"protected": 1, "blocked": 0, "masked": 1, "passed": 0}


@pytest.mark.parametrize(("policy", "left"), [("block", 2), ("pass", 3), ("none", 3)])
def test_block_drops_and_pass_keeps(policy: str, left: int) -> None:
    rows, counts = masked(policy)
    assert len(rows) == left
    assert counts.conserved
    assert all(r["namn"] == NAME for r in rows)


# --- canaries


@pytest.mark.parametrize("encoding", ["iso8859-1", "cp1252", "cp278", "cp437"])
@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("cut", [1, 7, 4096])
def test_a_canary_is_found_in_every_encoding_and_across_chunks(encoding: str, upper: bool, cut: int) -> None:
    street = Canaries.load().people[0]["street"]
    text = f"{'x' * 100}{street.upper() if upper else street}{'y' * 100}".encode(encoding)
    scan = Canaries.load().scan("mask", encoding)
    assert scan is not None
    for at in range(0, len(text), cut):
        scan.feed(text[at : at + cut])
    assert [(h.form, h.offset) for h in scan.hits] == [("street", 100)]


def test_a_prefix_alone_is_no_canary_and_names_are_searched_where_records_are_blocked() -> None:
    canaries_ = Canaries.load()
    mask, block = canaries_.scan("mask", "iso8859-1"), canaries_.scan("block", "iso8859-1")
    assert mask is not None
    assert block is not None
    for scan in (mask, block):
        scan.feed(f"{canaries_.prefixes['street']} {canaries_.people[0]['family_name']}".encode("latin-1"))
    assert mask.hits == []
    assert [h.form for h in block.hits] == ["family_name"]
    assert canaries_.scan("pass", "cp1252") is None


# --- suites


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (
            "{expect: UnexpectedRowsExpectation, severity: critical}",
            "s.yaml:3: UnexpectedRowsExpectation may not be used",
        ),
        ("{expect: ExpectColumnMostCommonValueToBeInSet, column: x, severity: info}", "may not be used"),
        ("{expect: ExpectColumnValuesToNotBeNull, colum: x, severity: info}", "s.yaml:3: expectations.colum"),
        ("{expect: ExpectColumnValuesToNotBeNull, column: x, severity: grave}", "s.yaml:3: expectations.severity"),
    ],
)
def test_a_wrong_suite_is_refused_with_file_and_line(tmp_path: Any, line: str, complaint: str) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(f"version: 1\nexpectations:\n  - {line}\n", encoding="utf-8")
    with pytest.raises(CallError) as caught:
        suites.read(file)
    assert complaint in str(caught.value)
