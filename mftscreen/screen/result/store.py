"""Ranked rows as CSV, JSON lines, ASE databases and tables for a terminal."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Collection, Iterable, Sequence
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from mftscreen.console.text_table import text_table
from mftscreen.errors import DataError
from mftscreen.screen.candidates.stream import check_not_read
from mftscreen.screen.result.carried_columns import database_name, database_value
from mftscreen.screen.result.columns import IDS, result_columns
from mftscreen.writing import check_place, output_file

if TYPE_CHECKING:
    from ase import Atoms

    from mftscreen.screen.result.screen_result import ScreenResult

__all__ = [
    "Record",
    "check_output",
    "format_table",
    "write_csv",
    "write_jsonl",
    "write_records",
]

Record = tuple[dict[str, Any], "Atoms | None"]
"""Column to value, the same columns throughout a table; and the structure."""


_OWN_NAMES = {"id": "candidate", "energy": "predicted_energy"}
"""In an ase.db, which reserves ours."""


class _Table(NamedTuple):
    """What :func:`write_records` takes, but for the path."""

    header: Sequence[str]
    records: Iterable[Record]
    ids: Collection[str]
    foreign: Collection[str]


def write_records(
    path: Path,
    header: Sequence[str],
    records: Iterable[Record],
    ids: Collection[str] = IDS,
    foreign: Collection[str] = (),
) -> None:
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
    ids : collection of str, optional
        Columns that hold ids, ``id`` among them; by default those of results.
    foreign : collection of str, optional
        Columns of the candidates' source, whose names and values an ASE database may
        not be able to hold as they are.

    Raises
    ------
    DataError
        If the ending is another one or the file cannot be written.
    """
    check_output(path)
    with output_file(path) as partial:
        _WRITERS[path.suffix](partial, _Table(header, records, ids, foreign))


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
    check_place(path)
    check_not_read(path, *inputs)


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
    # the ending tells that "\r" within a text has to be quoted
    table = csv.DictWriter(_ShortEndings(stream), header, lineterminator="\r\n")
    table.writeheader()
    table.writerows(values for values, _ in records)


class _ShortEndings(NamedTuple):
    """Takes lines with the ending of DOS and writes them with that of Unix."""

    stream: TextIO

    def write(self, line: str) -> int:
        return self.stream.write(line.removesuffix("\r\n") + "\n")


def write_jsonl(stream: TextIO, records: Iterable[Record]) -> None:
    """Write a table as JSON, one line for each row.

    Parameters
    ----------
    stream : TextIO
    records : iterable of (dict, Atoms or None)
        As for :func:`write_records`.
    """
    # what another encoding lacks would be written as an escape that JSON has not
    plain = (stream.encoding or "utf-8").lower().replace("-", "") != "utf8"
    for values, _ in records:
        stream.write(json.dumps(values, ensure_ascii=plain))
        stream.write("\n")


def _write_csv_file(path: Path, table: _Table) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        write_csv(stream, table.header, table.records)


def _write_jsonl(path: Path, table: _Table) -> None:
    with path.open("w", encoding="utf-8") as stream:
        write_jsonl(stream, table.records)


def _write_db(path: Path, table: _Table) -> None:
    from ase import Atoms
    from ase.db import connect

    # of all rows, for a column keeps its name where another one is empty
    own = (key for key in table.header if key not in table.foreign)
    names = {key: _OWN_NAMES.get(key, key) for key in own}
    for key in table.foreign:
        names[key] = database_name(key, set(names.values()))
    with connect(path, append=False) as database:
        for values, atoms in table.records:
            # ase.db has a formula of its own, cannot hold None and takes text that
            # looks like a number for a number
            pairs = {}
            for key, value in values.items():
                if key in table.foreign and value is not None:
                    pairs[names[key]] = database_value(value)
                elif value not in (None, "") and key != "formula":
                    pairs[names[key]] = f"id:{value}" if key in table.ids else value
            database.write(atoms or Atoms(), key_value_pairs=pairs)


def _write_parquet(path: Path, table: _Table) -> None:
    import pandas as pd

    values = [values for values, _ in table.records]
    frame = pd.DataFrame.from_records(values, columns=list(table.header))
    for key in table.foreign:
        known = frame[key].dropna()
        # a column has one type, and no numbers without end
        if known.dtype == object and set(known.map(type)) not in ({str}, {bool}):
            frame[key] = known.astype(str)
    frame.to_parquet(path, index=False)


_WRITERS: dict[str, Callable[[Path, _Table], None]] = {
    ".csv": _write_csv_file,
    ".jsonl": _write_jsonl,
    ".parquet": _write_parquet,
    ".db": _write_db,
}


N_TRUSTWORTHY = 5
"""Rows of the second table, see :func:`format_table`."""


def format_table(result: ScreenResult, limit: int) -> str:
    """Return the first ranked rows as a table for people.

    Control characters are escaped and long texts are cut, which ends them in ``…``.
    Where most of these rows are flagged, the first ones in distribution follow.

    Parameters
    ----------
    result : ScreenResult
    limit : int
        At most this many rows.

    Returns
    -------
    str
    """
    columns = [
        column
        for column in result_columns(result.units)
        if column.title and column.is_kept(result.ranked())
    ]
    titles = [column.title for column in columns]
    ranked = (each for each in result.ranked() if each.rank is not None)
    best = list(islice(ranked, limit))
    text = text_table([titles, *([c.text(each) for c in columns] for each in best)])
    n_flagged = sum(bool(each.row.ood) for each in best)
    if 2 * n_flagged <= len(best):
        return text
    text += (
        f"\n{n_flagged} of these {len(best)} are unlike what the model has learned "
        "from.\n"
    )
    known = result.trustworthy(N_TRUSTWORTHY)
    if not known:
        return f"{text}None of all candidates is known to be in distribution.\n"
    table = text_table([titles, *([c.text(each) for c in columns] for each in known)])
    return (
        f"{text}The best that are in distribution (more with --ood demote):\n\n{table}"
    )
