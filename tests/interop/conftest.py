"""The servers of ``servers.py``, each started once when it is first asked for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.interop.servers import SERVERS, Running
from tests.transports.conftest import book, store  # noqa: F401
from tests.transports.places import Place


@pytest.fixture(scope="module", params=list(SERVERS))
def server(request: pytest.FixtureRequest) -> Iterator[Running]:
    with SERVERS[request.param]() as running:
        yield running


@pytest.fixture
def place(server: Running) -> Place:
    return server.place()


@pytest.fixture
def end(place: Place) -> Place:
    return place
