"""XCom that takes manifests and nothing larger, and nothing that looks like a person.

The last of several locks: no step hands on a value of a record. Should one ever try, the task fails here, before the
value is in Airflow's database, where every reader of the UI sees it.
"""

from __future__ import annotations

import json
import re
from typing import Any

from airflow.sdk.bases.xcom import BaseXCom

from slussen.errors import CallError

LIMIT = 2048  # bytes of one manifest
# Twelve digits in a row, the first eight a date: as the layouts have it. Not ``20260112-0001``: file names look so.
PERSONAL_NUMBER = re.compile(
    r"(?<![0-9a-f])(?:18|19|20)\d{2}(?:0[1-9]|1[0-2])(?:[0-2]\d|3[01]|[6-9]\d)\d{4}(?![0-9a-f])"
)


class ManifestXCom(BaseXCom):
    """Refuses what is too large for a manifest, or holds something like a personal number."""

    @staticmethod
    def serialize_value(value: Any, **where: Any) -> Any:
        for item in value if isinstance(value, list) else [value]:
            text = json.dumps(item, default=str, ensure_ascii=False)
            if len(text.encode()) > LIMIT:
                raise CallError(f"XCom takes manifests of up to {LIMIT} bytes; bytes and rows go to the payload store")
            if PERSONAL_NUMBER.search(text):
                raise CallError("XCom takes nothing that looks like a personal number")
        return BaseXCom.serialize_value(value, **where)
