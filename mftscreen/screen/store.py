"""Ranked rows as CSV, JSON lines, ASE databases and tables for a terminal."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from sqlite3 import Error as SqliteError
from typing import TYPE_CHECKING, Any, TextIO

from mftscreen.errors import DataError
from mftscreen.screen.candidates import is_read

if TYPE_CHECKING:
    from ase import Atoms

    from mftscreen.screen.result import ScreenResult
    from mftscreen.screen.rows import ScreenRow

__all__ = [
    "check_output",
    "format_table",
    "write_csv",
    "write_records",
]

Record = tuple[dict[str, Any], "Atoms | None"]
"""Column to value, the same columns throughout a table; and the structure."""


def write_records(path: Path, header: Sequence[str], records: Iterable[Record]) -> None:
    """Write a table to a file; an existing one is replaced only when all is written.

    Parameters
    ----------
    path : Path
        ``.csv``, ``.jsonl``, ``.parquet`` or ``.db``. In an ASE
        database every value is a key-value pair, so that ``ase db FILE -c
        candidate,ood`` shows it.
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
    with _partial(path) as partial:
        _WRITERS[path.suffix](partial, header, records)
        partial.replace(path)


def check_output(path: Path, *inputs: str | Path | None) -> None:
    """Raise if nothing should be written to `path`; worth knowing before a long run.

    Parameters
    ----------
    path : Path
    *inputs : str, Path or None
        Files, folders, patterns and URLs that are read; a file must neither be
        overwritten nor be added to what the next run reads.

    Raises
    ------
    DataError
        If the ending is not one of those that can be written, the package for it is not
        installed, there is no such folder, it cannot be written to, or the file is or
        would be read as one of the inputs.
    """
    if path.suffix not in _WRITERS:
        msg = f"unknown output format; expected {', '.join(_WRITERS)}"
        raise DataError(msg, path=path)
    if path.suffix == ".parquet" and find_spec("pyarrow") is None:
        msg = "parquet needs pyarrow: pip install pyarrow"
        raise DataError(msg, path=path)
    if not path.parent.is_dir():
        msg = f"cannot be written: {path.parent} is not a folder"
        raise DataError(msg, path=path)
    with _partial(path) as partial:
        partial.touch()
    if path.is_dir():
        msg = "cannot be written: is a folder"
        raise DataError(msg, path=path)
    for source in inputs:
        if source is not None and is_read(source, path):
            msg = f"belongs to {source}, which is read; choose another output"
            raise DataError(msg, path=path)


@contextmanager
def _partial(path: Path) -> Iterator[Path]:
    """Give the path of a file beside another, which is gone afterwards."""
    partial = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield partial
    except (OSError, SqliteError) as error:
        reason = getattr(error, "strerror", None) or error
        msg = f"cannot be written: {reason}"
        raise DataError(msg, path=path) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def write_csv(stream: TextIO, header: Sequence[str], records: Iterable[Record]) -> None:
    """Write a table as CSV; what is unknown is left empty.

    Texts are written as they are, with whatever control characters an id holds: it is
    for programs, :func:`format_table` for a terminal.

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
            if "duplicate_of" in pairs:
                pairs["duplicate_of"] = f"id:{pairs['duplicate_of']}"
            database.write(atoms or Atoms(), key_value_pairs=pairs)


def _write_parquet(
    path: Path, header: Sequence[str], records: Iterable[Record]
) -> None:
    import pandas as pd

    table = pd.DataFrame.from_records([v for v, _ in records], columns=list(header))
    table.to_parquet(path, index=False)


_WRITERS: dict[str, Callable[[Path, Sequence[str], Iterable[Record]], None]] = {
    ".csv": _write_csv_file,
    ".jsonl": _write_jsonl,
    ".parquet": _write_parquet,
    ".db": _write_db,
}


_WIDEST, _LONGEST_NOTE = 60, 200
"""Characters of a cell in a table for people; the note is not followed by others."""


def format_table(result: ScreenResult, limit: int) -> str:
    """Return the first ranked rows as a table for people.

    Control characters are escaped and long texts are cut, which ends them in ``…``.

    Parameters
    ----------
    result : ScreenResult
    limit : int
        At most this many rows.

    Returns
    -------
    str
    """
    names = list(result.options.goals)
    titles = [f"{n} ({u})" if (u := result.units[n]) != "1" else n for n in names]
    lines = [["rank", "id", "formula", *titles, "OOD p", "OOD", "note"]]
    ranks = [rank for rank in result.ranks if rank is not None]
    for rank, row in zip(ranks, result.top(limit), strict=False):
        values = [_with_spread(row, name) for name in names]
        p_value = "" if row.ood_p_value is None else f"{row.ood_p_value:.3f}"
        flag = "yes" if row.ood else ""
        name, formula = _shown(row.id, _WIDEST), _shown(row.formula, _WIDEST)
        note = _shown(row.reason, _LONGEST_NOTE)
        lines.append([str(rank), name, formula, *values, p_value, flag, note])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = io.StringIO()
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        text.write("  ".join(cells).rstrip() + "\n")
    return text.getvalue()


def _shown(text: str, widest: int) -> str:
    """Return a text in one line of printable characters, cut if it is too long."""
    # first cut what need not be looked at
    safe = "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode()
        for c in text[: widest + 1]
    )
    return safe if len(safe) <= widest else f"{safe[: widest - 1]}…"


def _with_spread(row: ScreenRow, name: str) -> str:
    """Return a value, with its interval or, without one, the ensemble's spread."""
    text = f"{row.values[name]:.4g}"
    if name in row.intervals:
        low, high = row.intervals[name]
        return f"{text} [{low:.3g}, {high:.3g}]"
    return f"{text} ± {row.spreads[name]:.2g}" if name in row.spreads else text
