"""The same try started several times at once, as real processes on a real ledger: Airflow has been seen to do that."""

from __future__ import annotations

import os
from pathlib import Path

from sandbox.postgres import Server
from slussen import settings
from slussen.database import migrate
from slussen.delivery import Delivery, deliver, drive
from slussen.ledger import Ledger
from slussen.payloads import PayloadStore
from slussen.transports.directory import Directory

INTERCHANGES, PROCESSES = 20, 4


def test_of_four_processes_that_deliver_the_same_exactly_one_does(postgres: Server, tmp_path: Path) -> None:
    dsn = postgres.dsn("twice")
    migrate(dsn, settings.SQL / "migrations" / "slussen")
    ledger, store = Ledger(f"{dsn} user=slussen"), PayloadStore(tmp_path / "payloads")
    partner = tmp_path / "partner"
    partner.mkdir()
    deliveries = []
    for n in range(INTERCHANGES):
        with store.writer() as sink:
            sink.write(f"Ängsvik {n}".encode())
        deliveries.append(
            Delivery(interchange=f"f29-{n}", integration="f29", name=f"{n}.txt", sha256=sink.sha256, bytes=sink.bytes)
        )
    started = []
    for _ in range(PROCESSES):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                with Directory(partner) as to:
                    outcomes = [drive(deliver(d, store, to, ledger)).state for d in deliveries]
                # One that was overtaken must not report success: here it is tried again, as Airflow does.
                for d, state in zip(deliveries, outcomes, strict=True):
                    if state == "fenced":
                        with Directory(partner) as to:
                            drive(deliver(d, store, to, ledger))
                code = 0
            finally:
                os._exit(code)
        started.append(pid)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in started]
    assert codes == [0] * PROCESSES
    for d in deliveries:
        kinds = [e.kind for e in ledger.events(d.interchange)]
        assert kinds.count("delivered") == 1
        assert store.open(d.sha256).read() == (partner / d.name).read_bytes()
    assert sorted(f.name for f in partner.iterdir()) == sorted(d.name for d in deliveries)
    assert ledger.verify().ok
