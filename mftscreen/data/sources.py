"""Labelled data in any format that :mod:`mftscreen.data.readers` reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ase import Atoms

from mftscreen.data.dataset import LabelledStructure, force_field_labels
from mftscreen.data.label_report import LabelReport, OtherColumns
from mftscreen.data.label_source import LabelFault, LabelSource
from mftscreen.data.memory import RowsInMemory
from mftscreen.data.readers import Row, iter_rows
from mftscreen.errors import DataError
from mftscreen.suggestions import did_you_mean

__all__ = [
    "RowProblem",
    "check_problems",
    "iter_labelled",
    "read_force_field",
    "read_labelled",
]

N_NAMED = 20
"""Rows that an error message names; it counts the others."""

Kind = Literal[
    "structure", "missing", "not finite", "not a number", "out of scale", "force field"
]


@dataclass(frozen=True)
class RowProblem:
    """Why a row cannot be trained on.

    Attributes
    ----------
    row : str
        Its id.
    kind : {"structure", "missing", "not finite", "not a number", "out of scale", \
"force field"}
    message : str
    """

    row: str
    kind: Kind
    message: str


def read_labelled(
    path: Path | RowsInMemory, *labels: str | LabelSource
) -> Iterator[LabelledStructure]:
    """Yield structures with property labels.

    Parameters
    ----------
    path : Path or RowsInMemory
        See :func:`mftscreen.data.readers.iter_rows`. The labels are in the ``info`` of
        an extended XYZ or trajectory, the key-value pairs of an ASE database, the
        columns of a CSV or MatBench task, beside or in the ``properties`` or ``data``
        of a pymatgen document, in the attributes of an OPTIMADE entry, or in
        ``set.*/<column>.npy`` of a deepmd/npy system.
    *labels : str or LabelSource
        Names of columns of numbers, or where else labels are. With several, a row may
        lack some of them (absent, empty, null or NaN), but not all.

    Yields
    ------
    LabelledStructure

    Raises
    ------
    DataError
        If no column is named, the file cannot be read or no row has a label of these
        names; after the last row, if some rows have no finite labels or no structure.
        They are named.
    """
    yield from _without_problems(iter_labelled(path, *labels), path)


def iter_labelled(
    path: Path | RowsInMemory, *labels: str | LabelSource
) -> Iterator[LabelledStructure | RowProblem]:
    """Yield every row as :func:`read_labelled` does, or as what is wrong with it.

    Parameters
    ----------
    path, *labels
        See :func:`read_labelled`.

    Yields
    ------
    LabelledStructure or RowProblem

    Raises
    ------
    DataError
        If no column is named, the file cannot be read or no row has a label of these
        names.

    Notes
    -----
    After the last row it is logged which other columns of numbers there are.
    """
    if not labels:
        msg = "no label is asked for; name at least one column"
        raise DataError(msg, path=path)
    sources = [LabelSource.of(label) for label in labels]
    columns = [column for source in sources for column in source.columns]
    number, found, others = 0, False, dict[str, None]()
    numbers = OtherColumns(columns)
    rows = iter_rows(path) if isinstance(path, Path) else iter(path)
    for number, row in enumerate(rows, 1):
        numbers.add(row)
        found = found or any(column in row.values for column in columns)
        if not found:
            others |= dict.fromkeys(row.values)
        yield _labelled(row.name or f"{path.name}#{number - 1}", row, sources)
    if not number:
        msg = "holds no rows"
        raise DataError(msg, path=path)
    if not found and others:
        wanted = " or ".join(map(repr, columns))
        msg = f"no label {wanted}; there is {', '.join(others)}"
        msg += did_you_mean(*columns, known=others)
        raise DataError(msg, path=path)
    if isinstance(path, Path):
        numbers.say(path)


def _labelled(
    name: str, row: Row, sources: Sequence[LabelSource]
) -> LabelledStructure | RowProblem:
    if not isinstance(row.structure, Atoms):
        return RowProblem(name, "structure", str(row.structure))
    labels, problems = {}, []
    for source in sources:
        found = source.read(row.values)
        if not isinstance(found, LabelFault):
            labels[source.name] = found
            continue
        problem = RowProblem(name, found.kind, found.message)
        if not found.lacking:
            return problem
        problems.append(problem)
    if not labels:
        return problems[0]
    return LabelledStructure(name, row.structure, labels, row.group)


def read_force_field(
    path: Path, group: str | None = None
) -> Iterator[LabelledStructure]:
    """Yield structures with energy, forces and, where given, stress.

    Parameters
    ----------
    path : Path
        Extended XYZ, a trajectory or an ASE database with ASE's standard results, also
        compressed; or a folder with deepmd/npy systems.
    group : str, optional
        Key whose value is the group of a frame that has it.

    Yields
    ------
    LabelledStructure
        Labels ``energy``, ``force`` and ``virial`` as deepmd-kit has them. A frame is
        called ``file#number``, the row of a database by its number.

    Raises
    ------
    DataError
        If the file cannot be read; after the last frame, if some have no structure,
        energy or forces, or a stress and a virial that contradict. They are named.

    Notes
    -----
    After the last frame it is logged how many have which label, which keys look like
    labels and were not used, and whether forces or stress look like those of another
    unit (:class:`~mftscreen.data.label_report.LabelReport`).
    """
    report = LabelReport(path)
    yield from _without_problems(_iter_force_field(path, group, report), path)
    report.say()


def _iter_force_field(
    path: Path, group: str | None, report: LabelReport
) -> Iterator[LabelledStructure | RowProblem]:
    # frames of one material may share its name
    named: Callable[[int, Row], str] = (
        (lambda _, row: str(row.name))
        if path.is_dir() or path.suffix in (".db", ".aselmdb")
        else (lambda number, _: f"{path.name}#{number}")
    )
    for number, row in enumerate(iter_rows(path)):
        name = named(number, row)
        if not isinstance(row.structure, Atoms):
            yield RowProblem(name, "structure", str(row.structure))
            continue
        try:
            labels = force_field_labels(row.structure)
        except DataError as error:
            yield RowProblem(name, "force field", str(error))
        else:
            report.add(row.structure, labels)
            own = "" if group is None else str(row.values.get(group, ""))
            yield LabelledStructure(name, row.structure, labels, own)


def _without_problems(
    rows: Iterator[LabelledStructure | RowProblem], path: Path | RowsInMemory
) -> Iterator[LabelledStructure]:
    problems = []
    for row in rows:
        if isinstance(row, RowProblem):
            problems.append(row)
        else:
            yield row
    check_problems(problems, path)


def check_problems(
    problems: Sequence[RowProblem], path: Path | RowsInMemory | None = None
) -> None:
    """Raise a DataError that names the rows with problems, if there are any.

    Parameters
    ----------
    problems : sequence of RowProblem
    path : Path or RowsInMemory, optional
        What is concerned.

    Raises
    ------
    DataError
        With the messages of the first 20 rows, and the number of all.

    Examples
    --------
    >>> check_problems([RowProblem("mp-1", "missing", "no label 'gap'")])
    Traceback (most recent call last):
    ...
    mftscreen.errors.DataError: 1 row cannot be used
      row mp-1: no label 'gap'
    """
    if not problems:
        return
    n = len(problems)
    lines = [f"{n} row{'' if n == 1 else 's'} cannot be used"]
    lines += [f"  row {p.row}: {p.message}" for p in problems[:N_NAMED]]
    if n > N_NAMED:
        lines.append(f"  and {n - N_NAMED} more")
    raise DataError("\n".join(lines), path=path)
