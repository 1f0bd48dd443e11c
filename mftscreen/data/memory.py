"""Rows that are in memory: structures, pairs with ids, columns and tables of pandas."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ase import Atoms

from mftscreen.data.readers.documents import read_document
from mftscreen.data.readers.files import Row, find_name
from mftscreen.errors import DataError, MftscreenError, StructureError
from mftscreen.structures import to_atoms
from mftscreen.suggestions import did_you_mean

__all__ = ["RowsInMemory", "find_structure_column", "is_structure", "iter_memory"]

_KNOWN_COLUMNS = ("structure", "structures", "atoms")
"""Names that a column of structures has most often, the first one found counting."""

EXPECTED = (
    "structures are paths, or in memory: ase.Atoms or pymatgen structures, one or "
    "several, pairs of an id and a structure, a DataFrame, or a column of one"
)


class RowsInMemory:
    """Rows in place of a file of them, wherever labelled data are read from.

    Parameters
    ----------
    rows : iterable of Row
    name : str, optional
        In messages and on a model's card.

    Examples
    --------
    >>> from ase.build import bulk
    >>> rows = RowsInMemory.of([("mp-149", bulk("Si"))])
    >>> [row.name for row in rows], str(rows)
    (['mp-149'], '1 row in memory')
    """

    def __init__(self, rows: Iterable[Row], name: str = "") -> None:
        self._rows = tuple(rows)
        n = len(self._rows)
        self.name = name or f"{n} row{'' if n == 1 else 's'} in memory"

    @classmethod
    def of(cls, source: Any, column: str | None = None) -> RowsInMemory:
        """Return the rows of a source; see :func:`iter_memory`."""
        return cls(iter_memory(source, column))

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"<{self.name}>"


def is_structure(thing: Any) -> bool:
    """Tell a structure of ASE or pymatgen, or the dictionary of one, from other things.

    Examples
    --------
    >>> is_structure(Atoms("O")), is_structure(["O"])
    (True, False)
    """
    known = hasattr(thing, "is_ordered") and hasattr(thing, "sites")
    return isinstance(thing, Atoms) or known or _is_document(thing)


def iter_memory(source: Any, column: str | None = None) -> Iterator[Row]:
    """Yield the rows of what is in memory.

    Parameters
    ----------
    source : object
        A structure (:class:`ase.Atoms`, a pymatgen structure or its dictionary); an
        iterable of structures or of pairs (id, structure); a mapping of ids to
        structures; a column (:class:`pandas.Series`) of structures; or a
        :class:`pandas.DataFrame` with such a column.
    column : str, optional
        Where a DataFrame has its structures; by default it is found.

    Yields
    ------
    Row
        Its name is the id of a pair, the label of a column's row, or the first of
        ``id``, ``name``, ``material_id``, ``mp_id`` and ``entry_id`` among its values;
        else its number. Values are the ``info`` of the structure, results of its
        calculator and the other columns of a table. An :class:`MftscreenError` in place
        of a structure, and what is no structure, stay as errors.

    Raises
    ------
    DataError
        If it is nothing of all this, or a table has no column of structures.
    """
    if isinstance(source, RowsInMemory):
        yield from source
        return
    for number, (name, thing, values) in enumerate(_items(source, column)):
        row = _row(thing)
        known = {**row.values, **values}
        name = name or (find_name(values) if values else row.name)
        yield Row(name or str(number), row.structure, known)


def find_structure_column(table: Any, column: str | None = None) -> Any:
    """Return the name of a table's column of structures.

    Parameters
    ----------
    table : pandas.DataFrame
    column : str, optional
        Its name, if it is known.

    Returns
    -------
    str

    Raises
    ------
    DataError
        If there is none, or none of this name, or several and none is known.
    """
    names = list(table.columns)
    if column is not None:
        if column not in names:
            msg = f"the table has no column {column!r}; there is {_listed(names)}"
            msg += did_you_mean(str(column), known=map(str, names))
            raise DataError(msg)
        return column
    found = [n for k, n in enumerate(names) if _holds_structures(table.iloc[:, k])]
    known = [name for name in _KNOWN_COLUMNS if name in found]
    if len(found) == 1 or known:
        return (known or found)[0]
    if found:
        msg = f"several columns hold structures: {_listed(found)}; name one"
    else:
        msg = f"no column of the table holds structures; there is {_listed(names)}"
    raise DataError(msg)


def _items(
    source: Any, column: str | None
) -> Iterator[tuple[str | None, Any, Mapping[str, Any]]]:
    """Yield ids, what should be structures, and further values."""
    if hasattr(source, "iloc") and hasattr(source, "columns"):
        yield from _table_items(source, column)
    elif hasattr(source, "iloc"):
        for label, thing in zip(_labels(source), source, strict=True):
            yield label, thing, {}
    elif is_structure(source):
        yield None, source, {}
    elif isinstance(source, Mapping):
        for label, thing in source.items():
            yield str(label), thing, {}
    elif isinstance(source, str | bytes) or not isinstance(source, Iterable):
        msg = f"{type(source).__name__} is not understood: {EXPECTED}"
        raise DataError(msg)
    else:
        for thing in source:
            if isinstance(thing, tuple) and len(thing) == 2:
                yield str(thing[0]), thing[1], {}
            else:
                yield None, thing, {}


def _table_items(
    table: Any, column: str | None
) -> Iterator[tuple[str | None, Any, Mapping[str, Any]]]:
    place = [*table.columns].index(find_structure_column(table, column))
    others = {
        str(name): table.iloc[:, k].tolist()
        for k, name in enumerate(table.columns)
        if k != place
    }
    structures = table.iloc[:, place]
    for k, (label, thing) in enumerate(zip(_labels(table), structures, strict=True)):
        yield label, thing, {name: cells[k] for name, cells in others.items()}


def _labels(frame: Any) -> Iterator[str | None]:
    """Yield the labels of rows, or None where they are but numbers from 0."""
    plain = type(frame.index).__name__ == "RangeIndex"
    for label in frame.index:
        yield None if plain else str(label)


def _row(thing: Any) -> Row:
    """Return what one thing says of itself."""
    if isinstance(thing, Row):
        return thing
    if isinstance(thing, MftscreenError):
        return Row(None, thing, {})
    if _is_document(thing):
        return read_document(thing)
    try:
        atoms = to_atoms(thing)
    except StructureError as error:
        return Row(None, error, {})
    results = dict(atoms.calc.results) if _has_results(atoms) else {}
    return Row(find_name(atoms.info), atoms, {**results, **atoms.info})


def _has_results(atoms: Atoms) -> bool:
    """Tell whether a calculator holds results of just these atoms."""
    calculator = atoms.calc
    if not getattr(calculator, "results", None):
        return False
    try:
        return not calculator.check_state(atoms)
    except Exception:  # noqa: BLE001 - a calculator of others
        return False


def _is_document(thing: Any) -> bool:
    """Tell a dictionary of pymatgen, OPTIMADE or ASE from one of structures."""
    return isinstance(thing, Mapping) and bool(
        thing.keys() & {"lattice", "sites", "attributes", "positions", "@class"}
    )


def _holds_structures(column: Any) -> bool:
    first = next((value for value in column if value is not None), None)
    return is_structure(first)


def _listed(names: Iterable[Any]) -> str:
    return ", ".join(map(str, names)) or "nothing"
