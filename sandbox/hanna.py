"""HANNA's files of population-register questions: Navet infiles in PC8 (CP437)."""

from __future__ import annotations

from collections.abc import Iterable


def question_file(numbers: Iterable[str], order: int, *, declared: int | None = None) -> bytes:
    """A question file about these personal numbers; ``declared`` makes its count a wrong one."""
    asked = list(numbers)
    lines = [
        "#INFO_START", "#FILTYP INFIL", f"#BESTÄLLNINGSID 00000180-HA01-{order:04}", "#BESTÄLLNINGSTYP FRÅGA",
        "#NAMN_INFIL GYMNASIEELEVER ÅÄÖ", "#INFO_SLUT", "#DATA_START",
        *(f"#PNR {n}" for n in asked),
        "#DATA_SLUT", "#AVST_START", f"#ANTAL_POSTER {len(asked) if declared is None else declared:08}",
        "#AVST_SLUT", "#FIL_SLUT",
    ]  # fmt: skip
    return "".join(f"{line}\n" for line in lines).encode("cp437")
