"""Fixed-length records to Arrow batches: a block is a matrix of bytes, a field a slice of its columns."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from slussen.errors import Finding, Findings
from slussen.records import identities
from slussen.records.codepages import UNDEFINED, codepage
from slussen.records.layout import FieldSpec, Layout
from slussen.records.letters import Ints, decimals, strings
from slussen.records.render import ENDS
from slussen.records.source import Source

RECORDS = 8192  # a block
Matrix = NDArray[np.uint16]
BLANK, ZERO, NINE, MINUS = ord(" "), ord("0"), ord("9"), ord("-")


class FixedReader:
    """Reads records of one length, ended by nothing, LF or CRLF."""

    def __init__(self, source: Source, layout: Layout, encoding: str, frame: str, findings: Findings) -> None:
        self.source, self.layout, self.findings = source, layout, findings
        self.encoding, self.letters = encoding, codepage(encoding).letters
        self.end = bytes(codepage(encoding).byte(chr(c)) for c in ENDS[frame])
        self.records = 0
        self.totals: dict[str, int] = {}
        self.header: dict[str, str] = {}
        self._offsets: Ints = np.empty(0, np.int64)

    def batches(self) -> Iterator[pa.RecordBatch]:
        stride = self.layout.length + len(self.end)
        rest, at = b"", 0
        while chunk := self.source.read(RECORDS * stride - len(rest)):
            data = rest + chunk
            whole = len(data) // stride * stride
            block = np.frombuffer(data, np.uint8, whole).reshape(-1, stride)
            if self.end and not self._ends_stand(block):
                yield from self._by_line(data, at)
                return
            if whole:
                yield self._batch(block[:, : self.layout.length], at + np.arange(len(block)) * stride)
            rest, at = data[whole:], at + whole
        if rest and rest.strip(b"\x00\x1a" + self.end):
            if self.end and len(rest) == self.layout.length:  # the last record without its line end
                yield self._batch(np.frombuffer(rest, np.uint8)[None, :], np.array([at]))
            else:
                self._wrong_length(self.records + 1, len(rest), at, last=True)

    def _ends_stand(self, block: NDArray[np.uint8]) -> bool:
        tail = np.frombuffer(self.end, np.uint8)
        if not (block[:, self.layout.length :] == tail).all():
            return False
        return not (block[:, : self.layout.length] == tail[-1]).any()

    def _by_line(self, data: bytes, at: int) -> Iterator[pa.RecordBatch]:
        """The slow way, once a line end is not where it belongs: good lines are read, the others are findings."""
        good: list[bytes] = []
        places: list[int] = []
        numbers: list[int] = []
        number = self.records
        rest = data
        while rest:
            line, found, rest = rest.partition(self.end)
            if not found or (not rest and len(self.end) > 0):
                more = self.source.read()
                if more:
                    rest = line + found + rest + more
                    continue
            number += 1
            if len(line) == self.layout.length:
                good.append(line)
                places.append(at)
                numbers.append(number)
            elif line.strip(b"\x1a"):
                self._wrong_length(number, len(line), at, last=not rest)
            at += len(line) + len(found)
            if len(good) == RECORDS or (not rest and good):
                block = np.frombuffer(b"".join(good), np.uint8).reshape(-1, self.layout.length)
                yield self._batch(block, np.array(places), np.array(numbers))
                good, places, numbers = [], [], []
        self.records = number

    def _wrong_length(self, number: int, length: int, at: int, *, last: bool) -> None:
        self.findings.add(
            Finding(
                "truncated_file" if last and length < self.layout.length else "record_length",
                f"{length} bytes where a record has {self.layout.length}"
                + (", and there the file ends" if last else ""),
                "have the file sent again; if all records are like this, the layout or the frame is another",
                record=number,
                offset=at,
            )
        )

    def _batch(self, block: NDArray[np.uint8], offsets: Ints, numbers: Ints | None = None) -> pa.RecordBatch:
        n = len(block)
        letters = self.letters[block]
        if numbers is None:
            numbers = np.arange(self.records + 1, self.records + n + 1)
        self._numbers, self._offsets, self._block = numbers, offsets, block
        kinds = self._kinds(letters)
        columns: dict[str, pa.Array] = {
            "record_no": pa.array(numbers, pa.int64()),
            "byte_offset": pa.array(offsets, pa.int64()),
            "record_type": pa.array(kinds, pa.string()),
        }
        for f in self.layout.fields:
            has = np.isin(kinds, f.only) if f.only else kinds != ""
            cells = letters[:, int(f.at) - 1 : int(f.at) - 1 + f.length]
            self._undefined(f, cells, has)
            if f.type == "const":
                self._constant(f, cells, kinds)
            if f.staged:
                columns[f.name] = self._column(f, cells, has)
        for kind, count in zip(*np.unique(kinds, return_counts=True), strict=True):
            if kind:
                self.totals[f"records.{kind}"] = self.totals.get(f"records.{kind}", 0) + int(count)
        self.records = int(numbers[-1])
        schema = self.layout.schema
        return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)

    def _kinds(self, letters: Matrix) -> NDArray[np.str_]:
        kinds = np.full(len(letters), "", dtype=object)
        for name, spec in self.layout.records.items():
            match = kinds == ""
            for field, value in spec.when.items():
                f = self.layout.field(field)
                assert f is not None
                wanted = np.array([ord(c) for c in value.ljust(f.length)])
                match &= (letters[:, int(f.at) - 1 : int(f.at) - 1 + f.length] == wanted).all(axis=1)
            kinds[match] = name
        for row in np.flatnonzero(kinds == ""):
            self._find(row, None, "record_type", "a record of no type that the layout has", 0)
        return kinds.astype(str)

    def _column(self, f: FieldSpec, cells: Matrix, has: NDArray[np.bool_]) -> pa.Array:
        filled = cells != BLANK
        any_filled = filled.any(axis=1)
        if f.zeros:
            present = has & any_filled & ((cells != BLANK) & (cells != ZERO)).any(axis=1) if f.type == "text" else has
        else:
            present = has & any_filled
        present = present & any_filled
        if f.required:
            for row in np.flatnonzero(has & ~present):
                self._find(row, f, "required", "a required field is empty", 0)
        match f.type:
            case "integer" | "decimal":
                return self._number(f, cells, present)
            case "date":
                return self._date(f, cells, present)
            case _:
                return self._text(f, cells, filled, present)

    def _text(self, f: FieldSpec, cells: Matrix, filled: NDArray[np.bool_], present: NDArray[np.bool_]) -> pa.Array:
        first = np.where(present, filled.argmax(axis=1), 0) if f.align == "right" else np.zeros(len(cells), np.int64)
        last = np.where(present, f.length - filled[:, ::-1].argmax(axis=1), 0)
        places = np.arange(f.length)
        kept = (places >= first[:, None]) & (places < last[:, None])
        points = np.where(cells == UNDEFINED, 0xFFFD, cells)[kept]
        if f.type == "digits":
            wrong = present & (kept & ((cells < ZERO) | (cells > NINE))).any(axis=1)
            for row in np.flatnonzero(wrong):
                self._find(row, f, "not_a_number", "a field of digits holds something else", 0)
        if f.check == "personnummer" and f.length >= 12:
            self._check_digit(f, cells[:, :12], present & ((last - first) == 12))
        column = strings(points, last - first, present)
        if f.values:
            import pyarrow.compute as pc

            known = np.asarray(pc.fill_null(pc.is_in(column, pa.array(f.values, pa.string())), True))
            for row in np.flatnonzero(present & ~known):
                self._find(row, f, "not_in_code_list", f"not one of {', '.join(f.values)}", 0)
        return column

    def _check_digit(self, f: FieldSpec, cells: Matrix, which: NDArray[np.bool_]) -> None:
        rows = np.flatnonzero(which)
        right = identities.valid(np.minimum(cells[rows], 255).astype(np.uint8))
        for row in rows[~right]:
            self._find(row, f, "check_digit", "no valid personal number: wrong date, serial or check digit", 11)

    def _number(self, f: FieldSpec, cells: Matrix, present: NDArray[np.bool_]) -> pa.Array:
        """Right-aligned digits; zeros or blanks before them, a minus first or just before the first digit."""
        digits = (cells >= ZERO) & (cells <= NINE)
        negative = (cells == MINUS).any(axis=1)
        sound = ((cells == MINUS).sum(axis=1) <= 1) & (digits | (cells == BLANK) | (cells == MINUS)).all(axis=1)
        # Nothing but blanks, then perhaps a minus, may stand before the first digit; nothing but digits after it.
        started = np.logical_or.accumulate(digits, axis=1)
        sound &= ~(started & ~digits).any(axis=1) & digits.any(axis=1)
        bad = present & ~sound
        for row in np.flatnonzero(bad):
            self._find(row, f, "not_a_number", "a number field holds something else", 0)
        value = np.zeros(len(cells), np.int64)
        for column in range(f.length):
            value = np.where(digits[:, column], value * 10 + (cells[:, column].astype(np.int64) - ZERO), value)
        value = np.where(negative, -value, value)
        valid = present & sound
        if f.type == "decimal":
            return decimals(value, valid, f.decimals)
        return pa.array(value, pa.int64(), mask=~valid)

    def _date(self, f: FieldSpec, cells: Matrix, present: NDArray[np.bool_]) -> pa.Array:
        """YYYYMMDD or YYMMDD (of this century), anywhere in the field; zeros are no date."""
        digits = (cells >= ZERO) & (cells <= NINE)
        count = digits.sum(axis=1)
        value = np.zeros(len(cells), np.int64)
        for column in range(f.length):
            value = np.where(digits[:, column], value * 10 + (cells[:, column].astype(np.int64) - ZERO), value)
        value = np.where(count == 6, value + 20_000_000, value)
        year, month, day = value // 10000, value // 100 % 100, value % 100
        leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
        longest = identities.DAYS[np.clip(month, 0, 12)] - ((month == 2) & ~leap)
        sound = ((count == 6) | (count == 8)) & (digits | (cells == BLANK)).all(axis=1)
        sound &= (month >= 1) & (month <= 12) & (day >= 1) & (day <= longest) & (year >= 1)
        none = present & (value == 0)
        for row in np.flatnonzero(present & ~sound & ~none):
            self._find(row, f, "not_a_date", "no date of the form YYYYMMDD", 0)
        valid = present & sound & ~none
        months = np.where(valid, (year - 1970) * 12 + month - 1, 0).astype("datetime64[M]")
        days = months.astype("datetime64[D]") + np.where(valid, day - 1, 0)
        return pa.array(days.astype(np.int64).astype(np.int32), pa.int32(), mask=~valid).cast(pa.date32())

    def _constant(self, f: FieldSpec, cells: Matrix, kinds: NDArray[np.str_]) -> None:
        for kind in self.layout.records:
            if f.only and kind not in f.only:
                continue
            wanted = np.array([ord(c) for c in f.constant(kind).ljust(f.length)])
            for row in np.flatnonzero((kinds == kind) & (cells != wanted).any(axis=1)):
                self._find(row, f, "constant", "not the layout's constant", 0)

    def _undefined(self, f: FieldSpec, cells: Matrix, has: NDArray[np.bool_]) -> None:
        if not (cells == UNDEFINED).any():
            return
        for row, column in zip(*np.nonzero((cells == UNDEFINED) & has[:, None]), strict=True):
            byte = int(self._block[row, int(f.at) - 1 + column])
            self._find(row, f, "undefined_byte", f"byte {byte:02x} does not exist in {self.encoding}", int(column))

    def _find(self, row: int | np.integer, f: FieldSpec | None, rule: str, message: str, within: int) -> None:
        place = (int(f.at) - 1 if f else 0) + within
        exact = rule in ("check_digit", "undefined_byte")
        self.findings.add(
            Finding(
                rule, message, "correct it at the sender, and have the file sent again",
                record=int(self._numbers[row]),
                field=f.name if f else "",
                column=place + 1,
                length=1 if exact or not f else f.length,
                offset=int(self._offsets[row]) + place,
                byte=f"{int(self._block[row, place]):02x}" if exact else None,
            )
        )  # fmt: skip
