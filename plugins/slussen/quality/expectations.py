"""Great Expectations on PostgreSQL, behind the one door that keeps values in.

GX puts failing values into its results by default. Here the result format is forced to one that has record numbers
only, the expectations come from an allow-list, and whatever GX raises or reports as an exception closes the gate
without its text.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from slussen.errors import TechnicalError, describe
from slussen.quality.report import SHOWN, Check
from slussen.quality.suite import Rule, Suite

if TYPE_CHECKING:
    from great_expectations.expectations.expectation import Expectation

SAFE = {
    "result_format": "COMPLETE",
    "exclude_unexpected_values": True,
    "partial_unexpected_count": SHOWN,  # in SQL also the number of record numbers
    "return_unexpected_index_query": False,
    "unexpected_index_column_names": ["record_no"],
}


def validate(dsn: str, table: str, suite: Suite, columns: Sequence[str]) -> list[Check]:
    """Run a suite over a table of the stage schema; a check for each of its rules, in its order.

    Raises:
        TechnicalError: the gate could not finish; it is closed.
    """
    if missing := [r.column for r in suite.expectations if r.column and r.column not in columns]:
        raise TechnicalError(
            f"the stage has no column {', '.join(missing)}, which the suite expects: the gate is closed"
        )
    try:
        result = _run(dsn, table, suite)
    except Exception as error:
        raise TechnicalError(f"Great Expectations could not finish: {describe(error)}: the gate is closed") from None
    checks: dict[int, Check] = {}
    for one in result.results:
        number = int(one.expectation_config.meta["rule"])
        checks[number] = _check(suite.expectations[number], one)
    if len(checks) != len(suite.expectations):
        raise TechnicalError("Great Expectations left rules out: the gate is closed")
    return [checks[n] for n in sorted(checks)]


def _run(dsn: str, table: str, suite: Suite) -> Any:
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    source = context.data_sources.add_postgres("stage", connection_string=sqlalchemy_url(dsn))
    asset = source.add_table_asset(table, table_name=table, schema_name="stage")
    batch = asset.add_batch_definition_whole_table("whole").get_batch()
    made = gx.ExpectationSuite(name=table, expectations=[_expectation(n, r) for n, r in enumerate(suite.expectations)])
    return batch.validate(made, result_format=SAFE)


def _expectation(number: int, rule: Rule) -> Any:
    import great_expectations.expectations as gxe
    from great_expectations.expectations.row_conditions import Column

    kind = _personal_numbers() if rule.expect == "ExpectColumnValuesToBePersonalNumbers" else getattr(gxe, rule.expect)
    arguments: dict[str, Any] = {**rule.arguments, "meta": {"rule": number}, "severity": rule.severity}
    if rule.column:
        arguments["column"] = rule.column
    if rule.only:
        arguments["row_condition"] = Column("record_type") == rule.only
    if rule.mostly < 1:
        arguments["mostly"] = rule.mostly
    return kind(**arguments)


def _check(rule: Rule, one: Any) -> Check:
    raised = one.exception_info or {}
    # Two shapes: {"raised_exception": …} for one, or one such dict for each metric id.
    nested = [v for v in raised.values() if isinstance(v, dict)]
    if raised.get("raised_exception") or any(v.get("raised_exception") for v in nested):
        raise TechnicalError(f"{rule}: Great Expectations could not evaluate it: the gate is closed")
    result = one.result or {}
    # [{"record_no": [2, 3]}], one dict with all of them, since the values are left out.
    numbers = [n for i in result.get("unexpected_index_list") or [] for n in i["record_no"]]
    return Check(
        rule=str(rule),
        severity=rule.severity,
        ok=bool(one.success),
        checked=int(result.get("element_count") or 0),
        unexpected=int(result.get("unexpected_count") or 0),
        records=sorted(set(map(int, numbers))),
        message=rule.because,
        field=rule.column or "",
    )


@cache
def _personal_numbers() -> type[Expectation]:
    """Check digits by the SQL function of the stage: one rule for all three shapes."""
    import sqlalchemy as sa
    from great_expectations.execution_engine.sqlalchemy_execution_engine import SqlAlchemyExecutionEngine
    from great_expectations.expectations.expectation import ColumnMapExpectation
    from great_expectations.expectations.metrics.map_metric_provider.column_condition_partial import (
        column_condition_partial,
    )
    from great_expectations.expectations.metrics.map_metric_provider.column_map_metric_provider import (
        ColumnMapMetricProvider,
    )

    class PersonalNumbers(ColumnMapMetricProvider):
        condition_metric_name = "column_values.personal_number"

        @column_condition_partial(engine=SqlAlchemyExecutionEngine)
        def _sqlalchemy(cls, column: Any, **kwargs: Any) -> Any:
            return sa.func.stage.is_personal_number(column)

    class ExpectColumnValuesToBePersonalNumbers(ColumnMapExpectation):
        map_metric = "column_values.personal_number"
        success_keys = ("mostly",)

    return ExpectColumnValuesToBePersonalNumbers


def sqlalchemy_url(dsn: str) -> str:
    """A libpq connection string as SQLAlchemy wants it; a socket's folder goes into the query."""
    from urllib.parse import quote

    from psycopg.conninfo import conninfo_to_dict

    parts = {k: str(v) for k, v in conninfo_to_dict(dsn).items() if v is not None}
    user, password = quote(parts.get("user", ""), safe=""), parts.get("password", "")
    login = f"{user}:{quote(password, safe='')}" if password else user
    host = parts.get("host", "")
    folder = f"?host={quote(host, safe='/')}" if host.startswith("/") else ""
    place = "localhost" if folder or not host else host
    port = f":{parts['port']}" if parts.get("port") else ""
    return f"postgresql+psycopg2://{login}@{place}{port}/{parts.get('dbname', '')}{folder}"
