"""The three shapes that carry out an integration, built from the same operators: extract, load, relay."""

from __future__ import annotations

from airflow.sdk import TaskGroup, task_group

from slussen.integration import Integration
from slussen.operators import (
    AcknowledgeOperator,
    CollectOperator,
    ConvertOperator,
    DeliverOperator,
    DeliverSetOperator,
    ExtractOperator,
    GateOperator,
    MergeOperator,
    NotifyOperator,
    OfferOperator,
    RenderOperator,
    StageOperator,
)

# A name that is delivered to again and again is never delivered to twice at the same time (``delivery.py``).
ONE_AT_A_TIME = {"max_active_tis_per_dag": 1}


def extract(integration: Integration, *, trigger_rule: str = "none_failed") -> TaskGroup:
    """A database to a partner's file: extract → gate → render → deliver (offer, where it is downloaded) → acknowledge.

    An integration of several parts does all but the last for each: one delivery, both or neither.
    Runs also when what stands before it had nothing to send; ``trigger_rule`` says otherwise.
    """
    with TaskGroup(integration.key, tooltip=integration.title) as group:
        if integration.parts:
            contents = []
            for member in integration.members:
                with TaskGroup(member.part):
                    contents.append(_content(member, trigger_rule).output)
            _then(integration, DeliverSetOperator(task_id="deliver", integration=integration, manifests=contents))
            return group
        content = _content(integration, trigger_rule).output
        if integration.target.transport == "download":
            OfferOperator(task_id="offer", integration=integration, manifest=content)
        else:
            _then(integration, _deliver(integration, content))
    return group


def _content(integration: Integration, trigger_rule: str) -> RenderOperator:
    staged = ExtractOperator(task_id="extract", integration=integration, trigger_rule=trigger_rule)
    gated = GateOperator(task_id="gate", integration=integration, kind="extract", manifest=staged.output)
    return RenderOperator(task_id="render", integration=integration, manifest=gated.output)


def load(integration: Integration) -> TaskGroup:
    """A partner's files into BoSko's database: collect, then for each file stage → gate → merge."""
    with TaskGroup(integration.key, tooltip=integration.title) as group:
        collected = CollectOperator(task_id="collect", integration=integration)

        @task_group(group_id="file")
        def one(manifest: dict[str, object]) -> None:
            staged = StageOperator(task_id="stage", integration=integration, manifest=manifest)
            gated = GateOperator(task_id="gate", integration=integration, kind="load", manifest=staged.output)
            MergeOperator(task_id="merge", integration=integration, manifest=gated.output)

        one.expand(manifest=collected.output)
    return group


def relay(integration: Integration) -> TaskGroup:
    """A file passed on, bytes converted, never re-rendered: collect, then stage → gate → convert → deliver →
    acknowledge."""
    with TaskGroup(integration.key, tooltip=integration.title) as group:
        collected = CollectOperator(task_id="collect", integration=integration)

        @task_group(group_id="file")
        def one(manifest: dict[str, object]) -> None:
            staged = StageOperator(task_id="stage", integration=integration, manifest=manifest)
            gated = GateOperator(task_id="gate", integration=integration, kind="relay", manifest=staged.output)
            converted = ConvertOperator(task_id="convert", integration=integration, manifest=gated.output)
            _then(integration, _deliver(integration, converted.output))

        one.expand(manifest=collected.output)
    return group


def _deliver(integration: Integration, manifest: object) -> DeliverOperator:
    return DeliverOperator(task_id="deliver", integration=integration, manifest=manifest, **ONE_AT_A_TIME)


def _then(integration: Integration, delivered: DeliverOperator | DeliverSetOperator) -> None:
    """What a delivery is followed by: its receipts, where some are expected; whoever is to know of it is told."""
    if integration.receipts:
        AcknowledgeOperator(task_id="acknowledge", integration=integration, manifest=delivered.output)
    if integration.proof:  # a teardown: nothing waits for it, and no run fails with it
        NotifyOperator(task_id="notify", integration=integration, manifest=delivered.output).as_teardown()
