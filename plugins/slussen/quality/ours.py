"""Expectations of our own, for Great Expectations' SQL engine: personal numbers, months, lines of an
order, vouchers that balance, check digits.

Importing this imports Great Expectations (three seconds): only ``expectations.py`` does, when a gate runs.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from great_expectations.execution_engine.sqlalchemy_execution_engine import SqlAlchemyExecutionEngine
from great_expectations.expectations.core.expect_compound_columns_to_be_unique import ExpectCompoundColumnsToBeUnique
from great_expectations.expectations.expectation import ColumnMapExpectation, ColumnPairMapExpectation
from great_expectations.expectations.metrics.map_metric_provider.column_condition_partial import (
    column_condition_partial,
)
from great_expectations.expectations.metrics.map_metric_provider.column_map_metric_provider import (
    ColumnMapMetricProvider,
)
from great_expectations.expectations.metrics.map_metric_provider.column_pair_condition_partial import (
    column_pair_condition_partial,
)
from great_expectations.expectations.metrics.map_metric_provider.column_pair_map_metric_provider import (
    ColumnPairMapMetricProvider,
)
from great_expectations.expectations.metrics.map_metric_provider.multicolumn_condition_partial import (
    multicolumn_condition_partial,
)
from great_expectations.expectations.metrics.map_metric_provider.multicolumn_map_metric_provider import (
    MulticolumnMapMetricProvider,
)


class PersonalNumbers(ColumnMapMetricProvider):
    condition_metric_name = "column_values.personal_number"

    @column_condition_partial(engine=SqlAlchemyExecutionEngine)
    def _sqlalchemy(cls, column: Any, **kwargs: Any) -> Any:
        return sa.func.stage.is_personal_number(column)


class ExpectColumnValuesToBePersonalNumbers(ColumnMapExpectation):
    """Real date, existing serial, right check digit: the SQL function of the stage, one rule for all three shapes."""

    map_metric = "column_values.personal_number"
    success_keys = ("mostly",)


class Months(ColumnMapMetricProvider):
    condition_metric_name = "column_values.month"

    @column_condition_partial(engine=SqlAlchemyExecutionEngine)
    def _sqlalchemy(cls, column: Any, **kwargs: Any) -> Any:
        return sa.and_(column.between(200001, 209912), sa.func.mod(column, 100).between(1, 12))


class ExpectColumnValuesToBeMonths(ColumnMapExpectation):
    """A number YYYYMM of a month of this century."""

    map_metric = "column_values.month"
    success_keys = ("mostly",)


class HaveARecord(ColumnMapMetricProvider):
    condition_metric_name = "column_values.have_a_record"
    condition_value_keys = ("of", "sharing")

    @column_condition_partial(engine=SqlAlchemyExecutionEngine)
    def _sqlalchemy(cls, column: Any, of: str, sharing: list[str], **kwargs: Any) -> Any:
        keys: list[Any] = [sa.column(name) for name in sharing]
        whole = kwargs["_execution_engine"].batch_manager.active_batch_data.selectable
        named = (key.is_not(None) for key in keys)  # one that isn't would make "not in" neither true nor false
        there = sa.select(*keys).select_from(whole).where(sa.column("record_type") == of, *named)
        # A key that isn't there is another expectation's to find.
        return sa.or_(*(key.is_(None) for key in keys), sa.tuple_(*keys).in_(there))


class ExpectColumnValuesToHaveARecord(ColumnMapExpectation):
    """For each value there is a record of type ``of`` that has the same values in the columns ``sharing``."""

    of: str
    sharing: list[str]
    map_metric = "column_values.have_a_record"
    success_keys = ("of", "sharing", "mostly")


class SumToZero(ColumnMapMetricProvider):
    condition_metric_name = "column_values.sum_to_zero"
    condition_value_keys = ("sharing",)

    @column_condition_partial(engine=SqlAlchemyExecutionEngine)
    def _sqlalchemy(cls, column: Any, sharing: list[str], **kwargs: Any) -> Any:
        keys: list[Any] = [sa.func.coalesce(sa.cast(sa.column(name), sa.Text), "") for name in sharing]
        whole = kwargs["_execution_engine"].batch_manager.active_batch_data.selectable
        uneven = sa.select(*keys).select_from(whole).group_by(*keys).having(sa.func.sum(column) != 0)
        return sa.tuple_(*keys).not_in(uneven)


class ExpectColumnValuesToSumToZero(ColumnMapExpectation):
    """All records that have the same values in the columns ``sharing`` sum to zero: debit equals credit."""

    sharing: list[str]
    map_metric = "column_values.sum_to_zero"
    success_keys = ("sharing", "mostly")


class OneValue(ColumnMapMetricProvider):
    condition_metric_name = "column_values.one_value"
    condition_value_keys = ("sharing",)

    @column_condition_partial(engine=SqlAlchemyExecutionEngine)
    def _sqlalchemy(cls, column: Any, sharing: list[str], **kwargs: Any) -> Any:
        keys: list[Any] = [sa.func.coalesce(sa.cast(sa.column(name), sa.Text), "") for name in sharing]
        whole = kwargs["_execution_engine"].batch_manager.active_batch_data.selectable
        several = sa.select(*keys).select_from(whole).group_by(*keys).having(sa.func.min(column) != sa.func.max(column))
        return sa.tuple_(*keys).not_in(several)


class ExpectColumnValuesToHaveOneValue(ColumnMapExpectation):
    """All records that have the same values in the columns ``sharing`` have the same one here."""

    sharing: list[str]
    map_metric = "column_values.one_value"
    success_keys = ("sharing", "mostly")


class Different(ColumnPairMapMetricProvider):
    condition_metric_name = "column_pair_values.different"
    condition_domain_keys = ("batch_id", "table", "column_A", "column_B", "row_condition", "condition_parser",
                             "ignore_row_if")  # fmt: skip

    @column_pair_condition_partial(engine=SqlAlchemyExecutionEngine)  # type: ignore[untyped-decorator]
    def _sqlalchemy(cls, column_A: Any, column_B: Any, **kwargs: Any) -> Any:
        return column_A != column_B


class ExpectColumnPairValuesToBeDifferent(ColumnPairMapExpectation):
    """Two columns never hold the same value; nothing is no value."""

    ignore_row_if: str = "either_value_is_missing"
    map_metric = "column_pair_values.different"
    success_keys = ("column_A", "column_B", "ignore_row_if", "mostly")


class Luhn(ColumnMapMetricProvider):
    condition_metric_name = "column_values.luhn"

    @column_condition_partial(engine=SqlAlchemyExecutionEngine)
    def _sqlalchemy(cls, column: Any, **kwargs: Any) -> Any:
        return sa.func.stage.is_luhn(column)


class ExpectColumnValuesToBeLuhn(ColumnMapExpectation):
    """Digits of which the last one checks the others (modulus 10): payment references, bankgiro numbers."""

    map_metric = "column_values.luhn"
    success_keys = ("mostly",)


class NoPersonalNumber(ColumnMapMetricProvider):
    condition_metric_name = "column_values.no_personal_number"

    @column_condition_partial(engine=SqlAlchemyExecutionEngine)
    def _sqlalchemy(cls, column: Any, **kwargs: Any) -> Any:
        return sa.not_(sa.func.stage.has_personal_number(column))


class ExpectColumnValuesToHoldNoPersonalNumber(ColumnMapExpectation):
    """Free text in which nothing looks like a personal number."""

    map_metric = "column_values.no_personal_number"
    success_keys = ("mostly",)


class OnceTogether(MulticolumnMapMetricProvider):
    condition_metric_name = "compound_columns.once"

    @multicolumn_condition_partial(engine=SqlAlchemyExecutionEngine)  # type: ignore[untyped-decorator]
    def _sqlalchemy(cls, column_list: list[Any], **kwargs: Any) -> Any:
        # As texts, so that what is missing is alike: null equals nothing in SQL.
        keys = [sa.func.coalesce(sa.cast(column, sa.Text), "") for column in column_list]
        repeated = sa.select(*keys).select_from(kwargs["_table"]).group_by(*keys).having(sa.func.count() > 1)
        return sa.tuple_(*keys).not_in(repeated)


class ExpectCompoundColumnsToBeUniqueByRecord(ExpectCompoundColumnsToBeUnique):
    """Great Expectations' own, which has no record numbers in SQL, by a condition that has."""

    map_metric = "compound_columns.once"


OURS: dict[str, Any] = {
    "ExpectColumnValuesToBePersonalNumbers": ExpectColumnValuesToBePersonalNumbers,
    "ExpectColumnValuesToBeMonths": ExpectColumnValuesToBeMonths,
    "ExpectColumnValuesToHaveARecord": ExpectColumnValuesToHaveARecord,
    "ExpectColumnValuesToSumToZero": ExpectColumnValuesToSumToZero,
    "ExpectColumnValuesToHaveOneValue": ExpectColumnValuesToHaveOneValue,
    "ExpectColumnPairValuesToBeDifferent": ExpectColumnPairValuesToBeDifferent,
    "ExpectColumnValuesToBeLuhn": ExpectColumnValuesToBeLuhn,
    "ExpectColumnValuesToHoldNoPersonalNumber": ExpectColumnValuesToHoldNoPersonalNumber,
    "ExpectCompoundColumnsToBeUnique": ExpectCompoundColumnsToBeUniqueByRecord,
}
