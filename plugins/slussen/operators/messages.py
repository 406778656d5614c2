"""What deliver does where messages are sent, or a delivered file answers a question."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from slussen import settings
from slussen.errors import TransportError
from slussen.operators.base import ledger
from slussen.operators.connections import dsn, messenger

if TYPE_CHECKING:
    from slussen.integration import Integration
    from slussen.manifest import Manifest


def dispatched(integration: Integration, manifest: Manifest, log: Any) -> Manifest:
    """Send the content as a message: at most once, or under an id that the other end knows again.

    Where nobody knows whether it arrived, its receipts tell (the next step awaits them); without any, a person must.
    """
    from slussen.messaging import Dispatch, dispatch, drive
    from slussen.payloads import PayloadStore

    d = Dispatch(
        interchange=manifest.interchange,
        integration=manifest.integration,
        connection=integration.target.connection,
        name=manifest.name,
        sha256=manifest.sha256,
        bytes=manifest.bytes,
        records=manifest.records,
    )
    with messenger(integration.target) as partner:
        outcome = drive(dispatch(d, PayloadStore(settings.payloads()), partner, ledger()))
    if outcome.state == "fenced":
        raise TransportError(
            f"{manifest.interchange}: another attempt is sending it, and the ledger doesn't say delivered yet; the "
            "next try finds out"
        )
    if outcome.state == "unknown" and not integration.receipts:
        raise AirflowFailException(
            f"{manifest.interchange}: its reply was lost, and nobody knows whether message {outcome.message} arrived. "
            f"Next: ask {integration.receiver}, then say so: slussen arrived {manifest.interchange} --yes (or --no) "
            "--by NAME"
        )
    log.info(
        "%s: %s %s as %s, %d bytes, sha256 %s, attempt %d",
        manifest.interchange, outcome.state, manifest.name, outcome.message, manifest.bytes, manifest.sha256[:12],
        outcome.attempt,
    )  # fmt: skip
    return manifest


def settle_question(integration: Integration, manifest: Manifest, now: datetime, log: Any) -> None:
    """Tie an answering file, which has gone where it belongs, to the question that it answers."""
    from slussen.receipts import Answer, csn_receipt, match_answer

    book = ledger()
    events = book.events(manifest.interchange)
    message = next((str(e.data["answers"]) for e in events if e.kind == "collected" and e.data.get("answers")), "")
    header = dict(next((e.data.get("header") or {} for e in reversed(events) if e.kind == "staged"), {}))
    answer = Answer(
        interchange=manifest.interchange, integration=integration.key, of=integration.answers, layout=manifest.layout,
        header=header, message=message,
    )  # fmt: skip
    if manifest.layout == "csn_receipt":
        answer = csn_receipt(answer, dsn("slussen"), manifest.stage)
    question = match_answer(book, answer, now)
    if question:
        log.info("%s: answers %s: %s %s", manifest.interchange, question, answer.outcome, answer.detail)
    else:
        log.warning("%s: answers no question that is known (yet)", manifest.interchange)
