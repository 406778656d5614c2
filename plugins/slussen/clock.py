"""One clock for every wait, policy and file name.

With ``SLUSSEN_CLOCK=run`` each run has its own: it starts at the run's ``run_after`` and goes at the pace of the real
one, so that a simulated night, a test or a shadow run is inside its window.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from slussen import settings


def now(context: Mapping[str, Any] | None = None) -> datetime:
    """The time, in UTC: as the run of this task context sees it, or outside any run."""
    wall = datetime.now(UTC)
    if context is None or not settings.clock_per_run():
        return wall
    run = context["dag_run"]
    moment: datetime = run.run_after + (wall - run.start_date)
    return moment
