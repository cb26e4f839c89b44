"""Delimited text to rows of cells: strict, a million rows in seconds, and the line of the file on demand.

Decisions
- The file is read whole, for it may be a pipe; its rows come in small batches, which stay in the cache.
- Only where a cell is wrong is the text gone through again, to tell its line.
- Commas part columns; where the header has none, tabs or else semicolons do.  Nothing else is tried.
- Blank lines are no rows, nor are lines above the header that begin with `#`.  A `#` below it is data.
- Every row has as many cells as the header; blank cells beyond them (trailing commas) do no harm.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from minichin.fit.values import shown

BATCH = 512
SEPARATORS = ",\t;"
Row = list[str]


@dataclass(frozen=True)
class Delimited:
    """Delimited text, `separator` parting the columns, with `above` lines before its header's first."""

    source: str
    content: bytes = field(repr=False)
    separator: str
    above: int

    def header(self) -> Row:
        """Names of the columns, stripped; a column without one is called by its place, `column 4`."""
        cells = next(self._rows())[1]
        names = [name.strip() or f"column {i}" for i, name in enumerate(cells, 1)]
        twice = next((name for i, name in enumerate(names) if name in set(names[:i])), None)
        if twice is not None:
            raise ValueError(f"{self.source} has the column {shown(twice)} twice: give each its own name")
        return names

    def batches(self, width: int) -> Iterator[list[Row]]:
        """The data rows, each of `width` cells, some hundred at a time."""
        reader = self._reader()
        before = 0
        try:
            next(reader)
            while batch := list(islice(reader, BATCH)):
                if set(map(len, batch)) != {width}:
                    rows = [cells for cells in batch if not _blank(cells)]
                    batch = [self._fitted(cells, width, before + i) for i, cells in enumerate(rows, 1)]
                before += len(batch)
                yield batch
        except csv.Error:
            deque(self._rows(), maxlen=0)  # raises where the error is
            raise

    def place(self, row: int) -> str:
        """The line of the file that data row `row`, counted from 1, begins in."""
        return f"(line {next(islice(self._rows(), row, None))[0]} of {self.source})"

    def _rows(self) -> Iterator[tuple[int, Row]]:
        """The header and each data row, with the line of the file that it begins in."""
        reader = self._reader()
        begin = first = self.above + 1
        try:
            for cells in reader:
                if begin == first or not _blank(cells):
                    yield begin, cells
                begin = self.above + reader.line_num + 1
        except csv.Error as error:
            doubt = "; is a quotation mark not closed?" if self.above + reader.line_num > begin else ""
            said = str(error).replace("\t", "\\t")
            raise ValueError(f"line {begin} of {self.source}: {said}{doubt}") from error

    def _reader(self) -> Any:
        """A reader that stands at the header."""
        lines = islice(_lines(self.content), self.above, None)
        return csv.reader(lines, delimiter=self.separator, skipinitialspace=True, strict=True)

    def _fitted(self, cells: Row, width: int, row: int) -> Row:
        """A row without the blank cells beyond its header; ValueError where its length is wrong."""
        if len(cells) < width or any(map(str.strip, cells[width:])):
            raise ValueError(
                f"row {row} {self.place(row)} has {_count(len(cells), 'cell')}, "
                f"where the header has {_count(width, 'name')}: {shown(self.separator.join(cells))!r}"
            )
        return cells[:width]


def open_delimited(path: Path) -> Delimited:
    """Read a file of delimited text, plain or gzip; ValueError where it is none, or holds nothing."""
    source, content = shown(path.name, 100), _content(path)
    try:
        content.decode("utf-8-sig")
        place = content.find(b"\0")
        wrong = "a zero byte, so it is not text" if place >= 0 else ""
    except UnicodeDecodeError as error:
        place, wrong = error.start, "bytes that are not UTF-8"
    if wrong:
        line = content.count(b"\n", 0, place) + 1
        raise ValueError(f"{source} holds {wrong}, in line {line}: save it as CSV in UTF-8")
    for above, line_text in enumerate(_lines(content)):
        if line_text.strip() and not line_text.lstrip().startswith("#"):
            separator = next((s for s in SEPARATORS if s in line_text), ",")
            return Delimited(source, content, separator, above)
    raise ValueError(f"{shown(path, 5000)} is empty")


def _content(path: Path) -> bytes:
    """The bytes of a file, unpacked if they are gzip."""
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
    except FileNotFoundError as error:
        raise ValueError(f"there is no file {shown(path, 5000)}") from error
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise ValueError(f"{shown(path, 5000)} cannot be read: {shown(error, 200)}") from error


def _lines(content: bytes) -> io.TextIOWrapper:
    """Lines of UTF-8, with or without a mark at its start, as they end (\\n, \\r\\n or \\r)."""
    return io.TextIOWrapper(io.BytesIO(content), "utf-8-sig", newline="")


def _blank(cells: Row) -> bool:
    """Whether a line holds nothing: no separator either."""
    return not cells or (len(cells) == 1 and not cells[0].strip())


def _count(number: int, what: str) -> str:
    """ "1 cell", "2 cells"."""
    return f"{number} {what}{'s' * (number != 1)}"
