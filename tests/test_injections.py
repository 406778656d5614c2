"""A few injections of each kind; ``make faults`` plays ten thousand."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.postgres import Server
from tests.injection.play import inject
from tests.injection.rigs import RIGS
from tests.transports import messages

OURS = [name for name in RIGS if name in ("directory", "ftp", "mvs", "sftp")]


@pytest.mark.parametrize("scenario", ["deliver", "collect"])
@pytest.mark.parametrize("protocol", [*OURS, *messages.RIGS])
def test_a_fault_after_any_byte_loses_and_doubles_nothing(
    protocol: str, scenario: str, postgres: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("imap", "submission", "shs", "shs_http"):  # what hangs is waited for
        monkeypatch.setattr(f"slussen.transports.{module}.TIMEOUT", 2)
    dsn = postgres.dsn(f"inject_{protocol}_{scenario}")
    piece = inject(protocol, scenario, 10, 1809, dsn, str(tmp_path))  # type: ignore[arg-type]
    assert not piece.skipped
    assert not piece.wrong
    assert piece.played.total() >= 10
