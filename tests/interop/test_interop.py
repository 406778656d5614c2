"""The behaviours of ``tests/transports/test_conformance.py``, asked of servers that nobody here wrote."""

from tests.transports.test_conformance import *  # noqa: F403
