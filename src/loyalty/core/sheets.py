"""Small CSV files that come as text: a header line that names the columns, then the rows."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO

from loyalty.core.errors import Fault, Invalid


@dataclass(eq=False, kw_only=True)
class CsvUnreadable(Invalid):
    """The first line of the file must name these columns, separated by commas."""

    columns: list[str]


@dataclass(frozen=True)
class Sheet:
    """A file's header, and its rows that are not blank, by line; rows may have too few or too many cells."""

    header: list[str]
    rows: list[tuple[int, list[str]]]

    def fault(self, *, most_rows: int) -> Fault | None:
        """Tell what is wrong with the number of rows."""
        if 1 <= len(self.rows) <= most_rows:
            return None
        return Fault("/csv", "rows", f"A file has 1 to {most_rows} rows")


def read_sheet(text: str, *, columns: Sequence[str]) -> Sheet:
    """Read a CSV with a header line of these columns in any order. Raises CsvUnreadable for what is no such file."""
    try:
        lines = list(csv.reader(StringIO(text.removeprefix("\ufeff"), newline="")))
    except csv.Error as error:
        raise CsvUnreadable(columns=list(columns)) from error
    header = [name.strip() for name in lines[0]] if lines else []
    if sorted(header) != sorted(columns):
        raise CsvUnreadable(columns=list(columns))
    return Sheet(
        header, [(number, line) for number, line in enumerate(lines[1:], start=2) if any(map(str.strip, line))]
    )
