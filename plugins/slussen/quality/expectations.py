"""Great Expectations on PostgreSQL, behind the one door that keeps values in.

GX puts failing values into its results by default, and a database's own words (which quote values) into its log. Here
the expectations come from an allow-list, the result format is forced to one that has record numbers only, GX's loggers
lead nowhere, and whatever it raises or reports as an exception closes the gate without its text.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import reduce
from operator import and_
from typing import TYPE_CHECKING, Any

from slussen.errors import TechnicalError, describe
from slussen.quality.report import SHOWN, Check
from slussen.quality.suite import Rule, Suite

if TYPE_CHECKING:
    from slussen.database import Connection

# The first question to every rule: does it hold for all rows? One pass over the table answers all of them, and nothing
# else is in the result.
YES_OR_NO = {"result_format": "BOOLEAN_ONLY"}
# The second, to those that said no, with what they tolerate: how many, and which.
WHICH = {
    "result_format": "COMPLETE",
    "exclude_unexpected_values": True,
    "partial_unexpected_count": SHOWN,  # in SQL the LIMIT of record numbers too: 0 would give none
    "return_unexpected_index_query": False,
    "include_unexpected_rows": False,
    "unexpected_index_column_names": ["record_no"],
}
# Memory: lines that belong together are looked up in a hash table, which PostgreSQL gives up where there is too little.
SESSION = "-c work_mem=256MB -c jit=off -c synchronize_seqscans=off -c default_transaction_read_only=on"
TIMEOUT = "statement timeout"


def validate(url: str, table: str, suite: Suite, columns: Sequence[str], rows: Mapping[str, int]) -> list[Check]:
    """Run a suite over a table of the stage schema; a check for each of its rules, in its order.

    ``url`` is SQLAlchemy's, ``rows`` are the table's rows by record type.

    Raises:
        TechnicalError: the gate could not finish; it is closed.
    """
    if missing := {c for rule in suite.expectations for c in rule.columns} - set(columns):
        raise TechnicalError(
            f"the stage has no column {', '.join(sorted(missing))}, which the suite expects: the gate is closed"
        )
    rules = dict(enumerate(suite.expectations))
    strict = {n: rule.model_copy(update={"mostly": 1.0}) for n, rule in rules.items()}
    checks: dict[int, Check] = {}
    with _batch(url, table) as batch:
        for n, one in _ask(batch, strict, YES_OR_NO):
            if one.success:
                only = rules[n].only
                checks[n] = _check(rules[n], one, checked=rows.get(only, 0) if only else sum(rows.values()))
        for n, one in _ask(batch, {n: rule for n, rule in rules.items() if n not in checks}, WHICH):
            if one.success and rules[n].mostly == 1:
                raise TechnicalError(f"{rules[n]}: answered twice, not alike: the gate is closed")
            checks[n] = _check(rules[n], one)
    return [checks[n] for n in sorted(checks)]


@contextmanager
def _batch(url: str, table: str) -> Iterator[Any]:
    """The table as Great Expectations' batch, with nothing that it says let out."""
    try:
        with _silence():
            import great_expectations as gx
            from great_expectations.data_context.types.base import ProgressBarsConfig

            context = gx.get_context(mode="ephemeral")
            context.variables.progress_bars = ProgressBarsConfig(globally=False)
            sources: Any = context.data_sources  # its stub leaves out what goes to SQLAlchemy
            source = sources.add_postgres("stage", connection_string=url, kwargs={"hide_parameters": True})
            try:
                asset = source.add_table_asset(table, table_name=table, schema_name="stage")
                yield asset.add_batch_definition_whole_table("whole").get_batch()
            finally:
                source.get_engine().dispose()
    except TechnicalError:
        raise
    except Exception as error:
        reason = "a query took too long" if TIMEOUT in str(error) else describe(error)
        raise TechnicalError(f"Great Expectations could not finish: {reason}: the gate is closed") from None


@contextmanager
def _silence() -> Iterator[None]:
    """Whatever Great Expectations and SQLAlchemy log goes nowhere: errors of a database quote its rows."""
    loggers = [logging.getLogger(name) for name in ("great_expectations", "sqlalchemy")]
    before = [(logger.propagate, logger.handlers) for logger in loggers]
    for logger in loggers:
        logger.propagate, logger.handlers = False, [logging.NullHandler()]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, (propagate, handlers) in zip(loggers, before, strict=True):
            logger.propagate, logger.handlers = propagate, handlers


def _ask(batch: Any, rules: Mapping[int, Rule], result_format: dict[str, Any]) -> Iterable[tuple[int, Any]]:
    """Great Expectations' answer to each rule, in whatever order."""
    import great_expectations as gx

    if not rules:
        return []
    suite = gx.ExpectationSuite(name="suite", expectations=[_expectation(n, rule) for n, rule in rules.items()])
    results = batch.validate(suite, result_format=result_format).results
    answers = {int(one.expectation_config.meta["rule"]): one for one in results}
    if answers.keys() != rules.keys():
        raise TechnicalError("Great Expectations left rules out: the gate is closed")
    for n, one in answers.items():
        _refuse_exceptions(rules[n], one)
    return answers.items()


def _expectation(number: int, rule: Rule) -> Any:
    import great_expectations.expectations as gxe
    from great_expectations.expectations.row_conditions import Column

    from slussen.quality.ours import OURS

    kind = OURS.get(rule.expect) or getattr(gxe, rule.expect)
    arguments: dict[str, Any] = {**rule.arguments, "meta": {"rule": number}, "severity": rule.severity}
    if rule.column:
        arguments["column"] = rule.column
    if rule.mostly < 1:
        arguments["mostly"] = rule.mostly
    conditions: list[Any] = [Column("record_type") == rule.only] if rule.only else []
    conditions += [Column(name) == value for name, value in rule.where.items()]
    conditions += [Column(rule.given).is_not_null()] if rule.given else []
    if conditions:
        arguments["row_condition"] = reduce(and_, conditions)
    return kind(**arguments)


def _refuse_exceptions(rule: Rule, one: Any) -> None:
    """Great Expectations catches exceptions and reports them as results, in two shapes."""
    raised = one.exception_info or {}
    # {"raised_exception": …} for one, or one such dict for each metric id.
    shapes = [raised, *(v for v in raised.values() if isinstance(v, dict))]
    if any(shape.get("raised_exception") for shape in shapes):
        reason = "a query took too long" if TIMEOUT in str(raised) else "Great Expectations could not evaluate it"
        raise TechnicalError(f"{rule}: {reason}: the gate is closed")


def _check(rule: Rule, one: Any, checked: int | None = None) -> Check:
    result = one.result or {}
    # [{"record_no": [2, 3]}], one dict with all of them, since the values are left out.
    numbers = [n for i in result.get("unexpected_index_list") or [] for n in i["record_no"]]
    return Check(
        rule=str(rule),
        severity=rule.severity,
        ok=bool(one.success),
        checked=int(result.get("element_count") or 0) if checked is None else checked,
        unexpected=int(result.get("unexpected_count") or 0),
        records=sorted(set(map(int, numbers))),
        message=rule.because,
        field=rule.column or str(rule.arguments.get("column_A", "")),
    )


def gate_url(connection: Connection) -> str:
    """The server that this connection leads to, for a session that only reads and has the same time limits."""
    from psycopg.conninfo import make_conninfo

    info = connection.info
    parameters: dict[str, Any] = dict(info.get_parameters())
    parameters |= {"host": info.host, "port": info.port, "user": info.user, "dbname": info.dbname}
    parameters |= {"password": info.password} if info.password else {}
    parameters["options"] = f"{parameters.get('options', '')} {SESSION}".strip()
    return sqlalchemy_url(make_conninfo("", **parameters))


def sqlalchemy_url(dsn: str) -> str:
    """A libpq connection string as SQLAlchemy wants it; a socket's folder, options, TLS and so on go into the query."""
    from urllib.parse import quote

    from psycopg.conninfo import conninfo_to_dict

    parts = {k: str(v) for k, v in conninfo_to_dict(dsn).items() if v not in (None, "")}
    user, password, host, port, name = (parts.pop(k, "") for k in ("user", "password", "host", "port", "dbname"))
    if host.startswith("/"):
        parts["host"], host = host, ""
    login = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
    query = "&".join(f"{k}={quote(v, safe='/')}" for k, v in parts.items())
    place = (host or "localhost") + (f":{port}" if port else "")
    return f"postgresql+psycopg2://{login}@{place}/{name}{'?' if query else ''}{query}"
