"""What Airflow loads by itself: the only file below ``plugins/`` that it may execute (see ``.airflowignore``)."""

from collections.abc import Awaitable, Callable
from typing import Any

from airflow.plugins_manager import AirflowPlugin

from slussen.timetables import TIMETABLES


async def web(scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
    """Our routes, imported with the first request: only the API server has any, and every process loads this file."""
    from slussen.web.download import app

    await app(scope, receive, send)


class SlussenPlugin(AirflowPlugin):
    """Our timetables, known to scheduler and API server, and our routes below the latter's."""

    name = "slussen"
    timetables = TIMETABLES
    fastapi_apps = [{"app": web, "url_prefix": "/slussen", "name": "slussen"}]  # noqa: RUF012 (Airflow declares it so)
