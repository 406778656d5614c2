"""Reading the lines of LIST, for servers that have nothing better: in the manner of Unix or of DOS.

There is no standard for them. What can't be read is told by the number of its line: no name is made up from it, and
nothing is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

# -rw-r--r--   1 owner group   1234 Nov 25 09:40 name    (owner or group may be missing, the date in any language)
UNIX = re.compile(
    r"(?P<kind>[-dlbcps])[-rwxsStTlL]{9}[+.@]?\s+\d+\s+(?:\S+\s+){1,2}?(?P<size>\d+)\s+"
    r"(?P<when>\S+\s+\S+\s+(?:\d{1,2}:\d\d|\d{4})|\d{4}-\d\d-\d\d\s+\d\d:\d\d)\s(?P<name>.+)"
)
# 11-25-26  09:40AM        1234 name
DOS = re.compile(
    r"(?P<when>\d\d-\d\d-\d{2,4}\s+\d\d:\d\d(?:[AP]M)?)\s+(?:(?P<kind><DIR>|<JUNCTION>)|(?P<size>\d+))\s(?P<name>.+)"
)
NOTHING = re.compile(r"(?:total|totalt|insgesamt)\s+\d+|\s*", re.IGNORECASE)


def files(lines: Iterable[str]) -> Iterator[tuple[str, int | None, str] | int]:
    """The name, size and time of each file; for a line that can't be read, its number from 1.

    Folders are left out; a link, a pipe or a device has no size.
    """
    for number, line in enumerate(lines, 1):
        if NOTHING.fullmatch(line):
            continue
        if unix := UNIX.fullmatch(line):
            if unix["kind"] == "-":
                yield unix["name"], int(unix["size"]), unix["when"]
            elif unix["kind"] != "d":
                yield unix["name"].partition(" -> ")[0], None, unix["when"]
        elif dos := DOS.fullmatch(line):
            if not dos["kind"]:
                yield dos["name"].lstrip(), int(dos["size"]), dos["when"]
        else:
            yield number
