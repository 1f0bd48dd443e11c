"""Ranked rows as CSV, JSON lines, ASE databases and tables for a terminal."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from sqlite3 import Error as SqliteError
from typing import TYPE_CHECKING, Any, TextIO

from mftscreen.errors import DataError
from mftscreen.screen.pipeline import ScreenRow

if TYPE_CHECKING:
    from ase import Atoms

__all__ = [
    "check_output",
    "columns",
    "format_table",
    "result_records",
    "write_csv",
    "write_records",
    "write_results",
]

Ranked = Sequence[tuple[int | None, ScreenRow]]
Record = tuple[dict[str, Any], "Atoms | None"]
"""Column to value, the same columns throughout a table; and the structure."""


def columns(name: str) -> list[str]:
    """Return the columns of a result table for the property `name`."""
    return [
        "rank", "id", "formula", name, "unit",
        "ood_p_value", "ood", "low_dimensional", "status", "reason", "model",
    ]  # fmt: skip


def result_records(rows: Ranked, name: str) -> Iterator[Record]:
    """Yield the records of ranked rows for the property `name`."""
    for rank, row in rows:
        values = (
            rank, row.id, row.formula, row.value, row.unit,
            row.ood_p_value, row.ood, row.low_dimensional, row.status, row.reason,
            row.model,
        )  # fmt: skip
        yield dict(zip(columns(name), values, strict=True)), row.atoms


def write_results(path: Path, rows: Ranked, name: str) -> None:
    """Write ranked rows to a file, as :func:`write_records` does.

    Parameters
    ----------
    path : Path
        ``.csv``, ``.jsonl`` or ``.db``.
    rows : sequence of (rank, ScreenRow)
    name : str
        Name of the property.

    Raises
    ------
    DataError
        If the ending is another one or the file cannot be written.
    """
    write_records(path, columns(name), result_records(rows, name))


def write_records(path: Path, header: Sequence[str], records: Iterable[Record]) -> None:
    """Write a table to a file; an existing one is replaced only when all is written.

    Parameters
    ----------
    path : Path
        ``.csv``, ``.jsonl`` or ``.db``. In an ASE database every value is a key-value
        pair, so that ``ase db FILE -c candidate,ood`` shows it.
    header : sequence of str
        The columns, ``id`` and ``formula`` among them.
    records : iterable of (dict, Atoms or None)
        Column to value, and the structure, which only an ASE database keeps.

    Raises
    ------
    DataError
        If the ending is another one or the file cannot be written.
    """
    check_output(path)
    writer = _WRITERS[path.suffix]
    partial = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        writer(partial, header, records)
        partial.replace(path)
    except (OSError, SqliteError) as error:
        reason = getattr(error, "strerror", None) or error
        msg = f"cannot be written: {reason}"
        raise DataError(msg, path=path) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def check_output(path: Path) -> None:
    """Raise if nothing could be written to `path`; worth knowing before a long run.

    Raises
    ------
    DataError
        If the ending is not one of .csv, .jsonl and .db or there is no such folder.
    """
    if path.suffix not in _WRITERS:
        msg = f"unknown output format; expected {', '.join(_WRITERS)}"
        raise DataError(msg, path=path)
    if not path.parent.is_dir():
        msg = f"cannot be written: {path.parent} is not a folder"
        raise DataError(msg, path=path)


def write_csv(stream: TextIO, header: Sequence[str], records: Iterable[Record]) -> None:
    """Write a table as CSV; what is unknown is left empty.

    Parameters
    ----------
    stream : TextIO
    header : sequence of str
    records : iterable of (dict, Atoms or None)
        As for :func:`write_records`.
    """
    table = csv.DictWriter(stream, header, lineterminator="\n")
    table.writeheader()
    table.writerows(values for values, _ in records)


def _write_csv_file(
    path: Path, header: Sequence[str], records: Iterable[Record]
) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        write_csv(stream, header, records)


def _write_jsonl(path: Path, header: Sequence[str], records: Iterable[Record]) -> None:
    with path.open("w", encoding="utf-8") as stream:
        for values, _ in records:
            stream.write(json.dumps(values, ensure_ascii=False))
            stream.write("\n")


def _write_db(path: Path, header: Sequence[str], records: Iterable[Record]) -> None:
    from ase import Atoms
    from ase.db import connect

    with connect(path, append=False) as database:
        for values, atoms in records:
            # ase.db has a formula of its own, reserves "id", cannot hold None and takes
            # text that looks like a number for a number
            pairs = {key: v for key, v in values.items() if v not in (None, "")}
            pairs.pop("formula", None)
            pairs["candidate"] = f"id:{pairs.pop('id')}"
            if "nearest" in pairs:
                pairs["nearest"] = f"id:{pairs['nearest']}"
            if pairs.get("unit") == "1":
                del pairs["unit"]
            database.write(atoms or Atoms(), key_value_pairs=pairs)


_WRITERS: dict[str, Callable[[Path, Sequence[str], Iterable[Record]], None]] = {
    ".csv": _write_csv_file,
    ".jsonl": _write_jsonl,
    ".db": _write_db,
}


def format_table(rows: Ranked, name: str, limit: int) -> str:
    """Return the first ranked rows as a table for people.

    Parameters
    ----------
    rows : sequence of (rank, ScreenRow)
    name : str
        Name of the property.
    limit : int
        At most this many rows.

    Returns
    -------
    str
    """
    shown = [(rank, row) for rank, row in rows if rank is not None][:limit]
    unit = next((row.unit for _, row in rows if row.unit != "1"), "")
    header = ["rank", "id", "formula", f"{name} ({unit})" if unit else name]
    header += ["OOD p", "OOD", "note"]
    lines = [
        [
            str(rank),
            row.id,
            row.formula,
            f"{row.value:.4g}",
            "" if row.ood_p_value is None else f"{row.ood_p_value:.3f}",
            "yes" if row.ood else "",
            row.reason,
        ]
        for rank, row in shown
    ]
    widths = [max(len(line[k]) for line in [header, *lines]) for k in range(7)]
    text = io.StringIO()
    for line in [header, *lines]:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        text.write("  ".join(cells).rstrip() + "\n")
    return text.getvalue()
