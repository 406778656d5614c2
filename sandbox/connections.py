"""``airflow_settings.yaml`` for Airflow itself: nothing but Astro's CLI reads that file.

python -m sandbox.connections > connections.json && airflow connections import connections.json
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

PLACE = re.compile(r"\$\{(\w+)\}")
FIELDS = {"type": "conn_type", "host": "host", "schema": "schema", "login": "login", "password": "password",
          "port": "port", "extra": "extra"}  # fmt: skip


def connections(file: Path, environment: Mapping[str, str] = os.environ) -> dict[str, dict[str, Any]]:
    """The file's connections by id, in the form that ``airflow connections import`` takes.

    Raises:
        KeyError: a ``${NAME}`` that the environment doesn't have.
    """
    settings = yaml.safe_load(file.read_text(encoding="utf-8"))["airflow"]
    return {c["conn_id"]: _connection(_filled(c, environment)) for c in settings["connections"]}


def variables(file: Path, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The connections as ``AIRFLOW_CONN_<ID>`` variables with their JSON: Airflow reads them before its database."""
    return {f"AIRFLOW_CONN_{name.upper()}": json.dumps(c) for name, c in connections(file, environment).items()}


def keep(file: Path, environment: Mapping[str, str], to: Path) -> None:
    """Write the connections to a file that is the owner's alone: ``slussen probe`` finds the partners by it."""
    draft = to.with_suffix(".tmp")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        json.dump(connections(file, environment), out, indent=2)
    draft.replace(to)


def _connection(listed: Mapping[str, Any]) -> dict[str, Any]:
    made = {new: listed.get(f"conn_{old}") for old, new in FIELDS.items()}
    if made["port"]:
        made["port"] = int(made["port"])
    return {k: v for k, v in made.items() if v not in (None, "")}


def _filled(value: Any, environment: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {k: _filled(v, environment) for k, v in value.items()}
    if isinstance(value, str):
        return PLACE.sub(lambda m: environment[m[1]], value)
    return value


if __name__ == "__main__":
    from slussen import settings

    print(json.dumps(connections(settings.ROOT / "airflow_settings.yaml"), indent=2))
