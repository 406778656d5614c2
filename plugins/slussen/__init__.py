"""Slussen: file integrations between a city's systems, gated, delivered once and provable.

What a DAG file may import. Loaded on first use, so that the core below stays free of Airflow.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slussen.documents import document
    from slussen.integration import (
        Integration,
        Part,
        Receipt,
        Times,
        directory,
        download,
        ftp,
        mvs,
        sftp,
        shs,
        sql,
        tags,
        x400,
    )
    from slussen.shapes import extract, load, relay
    from slussen.timetables import At, Every, FirstWeekday, MonthDays, WeekdayOrNext, Window, day

__all__ = [
    "At",
    "Every",
    "FirstWeekday",
    "Integration",
    "MonthDays",
    "Part",
    "Receipt",
    "Times",
    "WeekdayOrNext",
    "Window",
    "day",
    "directory",
    "document",
    "download",
    "extract",
    "ftp",
    "load",
    "mvs",
    "relay",
    "sftp",
    "shs",
    "sql",
    "tags",
    "x400",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'slussen' has no attribute {name!r}")
    places = {
        "documents": ("document",),
        "timetables": ("At", "Every", "FirstWeekday", "MonthDays", "WeekdayOrNext", "Window", "day"),
        "shapes": ("extract", "load", "relay"),
    }
    place = next((p for p, names in places.items() if name in names), "integration")
    return getattr(import_module(f"slussen.{place}"), name)
