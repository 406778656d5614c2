"""How many behaviours the suite asks of each transport: the numbers can't drop."""

from __future__ import annotations

import inspect
from collections import Counter
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from tests.transports import conftest, test_conformance, test_disturbed, test_renaming
from tests.transports.places import ENDS, FILES, MESSAGES

EVERYBODY, RENAMED, SENT = 22, 35, 28  # asked of all six; of each that renames; of each that carries messages


def asked() -> dict[str, list[str]]:
    """Each behaviour, and the transports that it is asked of: those of its fixture."""
    of = {"end": ENDS, "remote": tuple(n for n in ENDS if n != "directory"), "place": tuple(FILES)}
    found = {}
    for module in (test_conformance, test_disturbed, test_renaming):
        for name, test in vars(module).items():
            if name.startswith("test_"):
                [fixture] = of.keys() & inspect.signature(test).parameters.keys()
                found[name] = list(of[fixture])
    return found


def test_all_six_transports_show_the_same_behaviours(capsys: pytest.CaptureFixture[str]) -> None:
    behaviours = asked()
    counted = Counter(transport for transports in behaviours.values() for transport in transports)
    shared = [name for name, transports in behaviours.items() if set(transports) == set(ENDS)]
    table = Table("transport", "behaviours", title=f"conformance: {len(shared)} behaviours x {len(ENDS)} transports")
    for transport in ENDS:
        table.add_row(transport, f"{counted[transport]}")
    with capsys.disabled():
        Console(width=100).print("", table)
    assert set(ENDS) == {"directory", "ftp", "mvs", "sftp", "x400", "shs"}
    assert len(shared) >= EVERYBODY >= 15
    assert min(counted[transport] for transport in FILES) >= RENAMED
    assert min(counted[transport] for transport in MESSAGES) >= SENT


@pytest.mark.parametrize("fixture", ["end", "remote", "place"])
def test_each_fixture_is_every_transport_that_is_counted(fixture: str) -> None:
    made: Any = getattr(conftest, fixture)
    counted = {"end": ENDS, "remote": tuple(n for n in ENDS if n != "directory"), "place": tuple(FILES)}
    assert tuple(made._fixture_function_marker.params) == counted[fixture]
