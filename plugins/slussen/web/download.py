"""The download: a route below Airflow's own, for whoever may start runs of the DAG that made the file.

A mounted app inherits no login: each route asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO
from urllib.parse import quote

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from fastapi import Depends, FastAPI, HTTPException, status
from fastapi.responses import StreamingResponse

from slussen import settings
from slussen.downloads import fetch
from slussen.errors import CallError, SlussenError
from slussen.ledger import Ledger
from slussen.payloads import CHUNK, PayloadStore

app = FastAPI(title="Slussen", docs_url=None, redoc_url=None, openapi_url=None)


@app.get(
    "/download/{dag_id}/{interchange}",
    dependencies=[Depends(requires_access_dag(method="POST", access_entity=DagAccessEntity.RUN))],
)
def download(dag_id: str, interchange: str, user: GetUserDep) -> StreamingResponse:
    """The interchange's content as a file; the ledger says who took it."""
    ledger, store = Ledger(settings.database()), PayloadStore(settings.payloads())
    try:
        found = fetch(ledger, store, interchange, by=user.get_name(), dag=dag_id)
    except CallError:
        raise HTTPException(status.HTTP_404_NOT_FOUND, "no such file") from None
    except SlussenError as error:
        raise HTTPException(status.HTTP_503_SERVICE_UNAVAILABLE, str(error)) from None
    return StreamingResponse(
        _chunks(found.payload),
        media_type="application/octet-stream",
        headers={
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(found.name, safe='')}",
            "Content-Length": str(found.bytes),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
        },
    )


def _chunks(payload: BinaryIO) -> Iterator[bytes]:
    with payload:
        while chunk := payload.read(CHUNK):
            yield chunk
