"""Tables of prompts: JSON lines, CSV, Parquet, or text with a prompt on each line."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from ltx2cpp.errors import ArgumentError

_MOST_BYTES = 1 << 20  # of a line


class TableFormat(str, Enum):
    """How a table is written."""

    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"
    TEXT = "text"


_SUFFIXES = {
    ".jsonl": TableFormat.JSONL,
    ".ndjson": TableFormat.JSONL,
    ".csv": TableFormat.CSV,
    ".parquet": TableFormat.PARQUET,
    ".txt": TableFormat.TEXT,
}


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        line: where it stands, from 1; of Parquet files the number of the row.
        values: plain JSON types by column, without those that are left empty.
    """

    line: int
    values: dict[str, Any]


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be made, and why.

    Attributes:
        line: where it stands, from 1.
        reason: one sentence.
    """

    line: int
    reason: str


def format_of(path: Path) -> TableFormat:
    """Return the format of a file by its name.

    Raises:
        ArgumentError: its name does not tell.
    """
    found = _SUFFIXES.get(path.suffix.lower())
    if found is None:
        raise ArgumentError(
            f"{path}: expected a name that ends in {', '.join(_SUFFIXES)}; or say what it is with "
            "--format"
        )
    return found


def read_rows(path: Path, table: TableFormat, columns: Sequence[str]) -> list[Row | BadRow]:
    """Return the rows of a file in their order.

    Args:
        path: the file.
        table: how it is written.
        columns: names that a header may have.

    Raises:
        ArgumentError: it cannot be read at all, or its header has other columns.
    """
    if table is TableFormat.PARQUET:
        return list(_parquet_rows(path, columns))
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        raise ArgumentError(f"{path}: cannot be read: {error}") from error
    return rows_of_bytes(data, str(path), table, columns)


def rows_of_bytes(
    data: bytes, name: str, table: TableFormat | None, columns: Sequence[str]
) -> list[Row | BadRow]:
    """Return the rows of a table in memory.

    Args:
        data: the table, UTF-8.
        name: what messages call it.
        table: how it is written; None looks whether it begins as JSON lines do, and else takes it
            for text.
        columns: names that a header may have.

    Raises:
        ArgumentError: it is no text, or its header has other columns.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ArgumentError(f"{name}, line {line}: is no UTF-8 text") from error
    if table is None:
        table = TableFormat.JSONL if text.lstrip().startswith("{") else TableFormat.TEXT
    if table is TableFormat.CSV:
        return list(_csv_rows(text, name, columns))
    # Not splitlines: prompts may hold the line separators of Unicode.
    lines = enumerate(text.replace("\r\n", "\n").split("\n"), start=1)
    read = _json_row if table is TableFormat.JSONL else _text_row
    return [read(line, content) for line, content in lines if content.strip()]


def _text_row(line: int, content: str) -> Row | BadRow:
    return Row(line, {"prompt": content.strip()})


def _json_row(line: int, content: str) -> Row | BadRow:
    if len(content) > _MOST_BYTES:
        return BadRow(line, f"expected at most {_MOST_BYTES} characters, found {len(content)}")
    try:
        values = json.loads(content, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        return BadRow(line, f"is no JSON: {error}")
    if not isinstance(values, dict):
        return BadRow(line, f"expected an object of columns, found {type(values).__name__}")
    return Row(line, {name: value for name, value in values.items() if value is not None})


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no number of JSON")


def _csv_rows(text: str, name: str, columns: Sequence[str]) -> Iterator[Row | BadRow]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] = []
    line = 1
    try:
        header = [cell.strip() for cell in next(reader, [])]
        check_columns(header, columns, f"{name}, line 1")
        line = reader.line_num + 1
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield _csv_row(line, header, cells)
            line = reader.line_num + 1
    except csv.Error as error:
        yield BadRow(line, f"is no CSV: {error}")


def _csv_row(line: int, header: Sequence[str], cells: Sequence[str]) -> Row | BadRow:
    if len(cells) > len(header):
        return BadRow(
            line,
            f"expected {len(header)} cells, found {len(cells)}; put quotes around commas",
        )
    return Row(line, {name: cell for name, cell in zip(header, cells, strict=False) if cell != ""})


def check_columns(names: Iterable[str], columns: Sequence[str], where: str) -> None:
    """Refuse a header with a column that there is not, or one twice.

    Raises:
        ArgumentError: it names the first of them.
    """
    import difflib

    seen: set[str] = set()
    for name in names:
        if name not in columns:
            near = difflib.get_close_matches(name, columns, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ArgumentError(f"{where}: there is no column {name!r:.64}{hint}")
        if name in seen:
            raise ArgumentError(f"{where}: has the column {name!r} twice")
        seen.add(name)
    if not seen:
        raise ArgumentError(f"{where}: expected the names of columns, found nothing")


def _parquet_rows(path: Path, columns: Sequence[str]) -> Iterator[Row | BadRow]:
    try:
        from pyarrow import ArrowException, parquet
    except ModuleNotFoundError as error:
        raise ArgumentError(
            f"{path}: Parquet needs the package pyarrow; pip install 'ltx2cpp[parquet]' brings it"
        ) from error
    try:
        with parquet.ParquetFile(path) as file:
            check_columns(file.schema_arrow.names, columns, str(path))
            line = 0
            for part in file.iter_batches(1024):
                for values in part.to_pylist():
                    line += 1
                    yield Row(line, {name: value for name, value in values.items() if _is(value)})
    except (OSError, ValueError, ArrowException) as error:
        if isinstance(error, ArgumentError):
            raise
        raise ArgumentError(f"{path}: cannot be read as Parquet: {error}") from error


def _is(value: Any) -> bool:
    """Whether a cell holds something; tables of numbers write nothing as NaN."""
    return value is not None and not (isinstance(value, float) and math.isnan(value))
