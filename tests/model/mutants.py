"""Deliberate mistakes in the real code: each must lead to a bad state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.model.walk import walk


def survives(owner: type, name: str, mutant: Callable[..., Any], setting: Any) -> bool:
    """Is every state well although this method of the code is another?"""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, mutant)
        try:
            walk(setting)
        except AssertionError as error:
            return " after " not in str(error)
    return True
