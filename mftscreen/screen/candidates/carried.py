"""What candidates bring along: ids and further values of their sources."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from math import isfinite
from typing import Any

import numpy as np
from ase import Atoms

from mftscreen.errors import ConfigError, DataError, MftscreenError
from mftscreen.structures import keep_charge
from mftscreen.suggestions import did_you_mean
from mftscreen.writing import as_utf8

__all__ = [
    "Carried",
    "carried_values",
    "choose_carried",
    "find_id",
    "split_names",
    "without_baggage",
]

Carried = Mapping[str, str | int | float | bool]
"""Name to value."""

_CHARGES = {"charge", "total_charge"}

LONGEST_TEXT, MOST, LARGEST = 300, 100, 2**63
"""Characters of a value, values of a candidate, and the size of a number: a CIF is no
label."""


def carried_values(
    values: Mapping[str, Any], structure: Atoms | MftscreenError | None = None
) -> dict[str, str | int | float | bool]:
    """Return those values of a row that travel with a candidate.

    Parameters
    ----------
    values : mapping of str to object
        As :class:`mftscreen.data.readers.Row` has them.
    structure : Atoms or MftscreenError, optional
        Results of its calculator, which belong to it as it was, are left behind.

    Returns
    -------
    dict of str to str, int, float or bool
        Texts of up to 300 characters, finite numbers and truth values, 100 at most.

    Examples
    --------
    >>> carried_values({"group": "oxide", "gap": np.float64(1.5), "forces": [[0.0]]})
    {'group': 'oxide', 'gap': 1.5}
    """
    calculator = structure.calc if isinstance(structure, Atoms) else None
    info = structure.info if isinstance(structure, Atoms) else {}
    results = getattr(calculator, "results", {})
    found: dict[str, str | int | float | bool] = {}
    for key, given in values.items():
        if key in results and key not in info:
            continue
        value = given.item() if isinstance(given, np.generic) else given
        is_text = isinstance(value, str) and 0 < len(value) <= LONGEST_TEXT
        is_number = isinstance(value, int | float) and abs(value) < LARGEST
        if (is_text or is_number) and len(found) < MOST:
            # what UTF-8 cannot hold is escaped, as in ids
            found[as_utf8(key)] = as_utf8(value) if is_text else value
    return found


def find_id(
    values: Mapping[str, Any], key: str | None, *, required: bool = False
) -> str | None:
    """Return the id that stands under a key of a row.

    Parameters
    ----------
    values : mapping of str to object
    key : str or None
        None for no such id.
    required : bool, default False
        Whether a row with other values has to have this one.

    Returns
    -------
    str or None
        None if the row has no value there.

    Raises
    ------
    DataError
        If it is required and missing.
    """
    if key is None or not values:
        return None
    if required and key not in values:
        there = ", ".join(map(str, values))
        msg = f"the first row has no {key!r} to be named by; there is {there}"
        msg += did_you_mean(key, known=map(str, values))
        raise DataError(msg)
    value = values.get(key)
    missing = value is None or (isinstance(value, float) and not isfinite(value))
    return None if missing else str(value).strip() or None


def without_baggage(atoms: Atoms) -> Atoms:
    """Return a structure that other processes can be sent.

    Parameters
    ----------
    atoms : Atoms

    Returns
    -------
    Atoms
        The same, or a copy without calculator and with plain values in ``info``.
    """
    plain = carried_values(atoms.info)
    if atoms.calc is None and len(plain) == len(atoms.info):
        return atoms
    info, atoms.info = atoms.info, {}
    try:
        copy: Atoms = atoms.copy()  # which leaves the calculator behind
    finally:
        atoms.info = info
    # of many values, some are not carried
    said = {key: atoms.info[key] for key in _CHARGES & atoms.info.keys()}
    copy.info = {**dict(plain), **carried_values(said)}
    keep_charge(copy, atoms)
    return copy


def choose_carried(
    carry: bool | str | Collection[str], held: Collection[str]
) -> list[str]:
    """Return the names of values that a table is to have.

    Parameters
    ----------
    carry : bool, str or collection of str
        All or none; or names, which may stand in a text with commas between them.
    held : collection of str
        Names that candidates have.

    Returns
    -------
    list of str

    Raises
    ------
    ConfigError
        If no candidate has a value of a name.
    """
    if isinstance(carry, bool):
        return list(held) if carry else []
    names = split_names(carry)
    if unknown := [name for name in names if name not in held]:
        there = ", ".join(held) or "nothing"
        problem = f"carry: no candidate has {', '.join(unknown)}; there is {there}"
        problem += did_you_mean(*unknown, known=held)
        raise ConfigError([problem])
    return names


def split_names(carry: str | Collection[str]) -> list[str]:
    """Return the names that are asked for.

    Parameters
    ----------
    carry : str or collection of str
        As for :func:`choose_carried`.

    Raises
    ------
    ConfigError
        If it is neither.
    """
    parts = carry.split(",") if isinstance(carry, str) else carry
    if not isinstance(parts, Iterable):
        raise ConfigError([f"carry: names, True or False are expected, got {carry!r}"])
    return list(dict.fromkeys(str(part).strip() for part in parts))
