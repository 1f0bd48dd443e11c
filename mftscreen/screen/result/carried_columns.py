"""Columns of what candidates bring along from their sources."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any

from mftscreen.screen.result.columns import Column, Ranked, result_columns
from mftscreen.screen.result.rows import ScreenRow

__all__ = ["carried_columns", "database_name", "database_value", "held_names"]

_SOURCE = "source_"
"""What is put in front of a name that means something else."""


def held_names(rows: Sequence[ScreenRow]) -> list[str]:
    """Return the names of what rows bring along, in the order of their first use.

    An ``id`` that is the candidate's own is left out.
    """
    names = dict.fromkeys(name for row in rows for name in row.carried)
    if all(str(row.carried.get("id", row.id)) == row.id for row in rows):
        names.pop("id", None)
    return list(names)


def carried_columns(names: Sequence[str], units: Mapping[str, str]) -> list[Column]:
    """Return a column for each name.

    Parameters
    ----------
    names : sequence of str
    units : mapping of str to str
        Property to unit, of what candidates are ranked by.

    Returns
    -------
    list of Column
        One whose name is that of a column of results begins with ``source_``.

    Examples
    --------
    >>> [column.name for column in carried_columns(["group", "gap"], {"gap": "eV"})]
    ['group', 'source_gap']
    """
    taken = {column.name for column in result_columns(units)}
    columns = []
    for name in names:
        title = _free(name, taken)
        taken.add(title)
        columns.append(Column(title, partial(_value, name), "of the source"))
    return columns


def database_name(name: str, taken: Collection[str]) -> str:
    """Return a name as an ase.db can hold it.

    Parameters
    ----------
    name : str
    taken : collection of str
        Names that are used already.

    Returns
    -------
    str
        Of letters, digits and underscores, and neither a word nor a formula of ASE's.

    Examples
    --------
    >>> database_name("band gap (eV)", ()), database_name("Si", ())
    ('band_gap_eV', 'source_Si')
    """
    from ase.db.core import reserved_keys
    from ase.formula import Formula

    key = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") or "value"
    if key[0].isdigit() or key in reserved_keys or _is_formula(Formula, key):
        key = _SOURCE + key
    return _free(key, taken)


def database_value(value: Any) -> Any:
    """Return a value as an ase.db can hold it.

    Parameters
    ----------
    value : str, int, float or bool

    Returns
    -------
    str, int, float or bool
        A text that looks like a number or a truth value begins with ``text:``.

    Examples
    --------
    >>> database_value(1.1), database_value("007")
    (1.1, 'text:007')
    """
    from ase.db.core import str_represents

    if isinstance(value, str) and any(
        str_represents(value, kind) for kind in (bool, int, float)
    ):
        return f"text:{value}"
    return value


def _is_formula(formula: Any, key: str) -> bool:
    try:
        formula(key, strict=True)
    except ValueError:
        return False
    return True


def _free(name: str, taken: Collection[str]) -> str:
    """Return a name that is not taken."""
    free, number = name if name not in taken else _SOURCE + name, 2
    while free in taken:
        free, number = f"{_SOURCE}{name}_{number}", number + 1
    return free


def _value(name: str, ranked: Ranked) -> Any:
    return ranked.row.carried.get(name)
