"""Valence orbitals of the elements, as the orbital field matrix counts them.

The electron configurations are written down here instead of being taken from another
package, because an orbital field matrix is only comparable with those of the same
element table: pymatgen changed the order of its subshells in 2024, and the vectors of
49 elements changed with it. :func:`table_hash` names a table in stored reference sets.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from typing import Literal, get_args

import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from numpy.typing import NDArray

__all__ = [
    "MAX_Z",
    "ORBITALS",
    "Table",
    "element_table",
    "name_pair",
    "pair_label",
    "table_hash",
]

Table = Literal["current", "paper"]

MAX_Z = 94
"""Pu; matminer has no vectors of heavier elements either."""

_CAPACITY = {"s": 2, "p": 6, "d": 10, "f": 14}

ORBITALS: tuple[str, ...] = tuple(
    f"{letter}{count}"
    for letter, capacity in _CAPACITY.items()
    for count in range(1, capacity + 1)
)
"""The 32 slots of an element's vector: s1, s2, p1 ... p6, d1 ... d10, f1 ... f14."""

# neutral atoms whose ground state is not the one of Madelung's rule (NIST)
_EXCEPTIONS = {
    "Cr": "4s1 3d5",
    "Cu": "4s1 3d10",
    "Nb": "5s1 4d4",
    "Mo": "5s1 4d5",
    "Ru": "5s1 4d7",
    "Rh": "5s1 4d8",
    "Pd": "5s0 4d10",
    "Ag": "5s1 4d10",
    "La": "4f0 5d1",
    "Ce": "4f1 5d1",
    "Gd": "4f7 5d1",
    "Pt": "6s1 5d9",
    "Au": "6s1 5d10",
    "Ac": "5f0 6d1",
    "Th": "5f0 6d2",
    "Pa": "5f2 6d1",
    "U": "5f3 6d1",
    "Np": "5f4 6d1",
}


def _madelung(shell: tuple[int, str]) -> tuple[int, int]:
    n, letter = shell
    return n + "spdf".index(letter), n


def _by_shell(shell: tuple[int, str]) -> tuple[int, int]:
    n, letter = shell
    return n, "spdf".index(letter)


def electron_configuration(z: int) -> dict[tuple[int, str], int]:
    """Return the occupied subshells of a neutral atom in its ground state.

    Parameters
    ----------
    z : int
        Atomic number, 1 to ``MAX_Z``.

    Returns
    -------
    dict of (int, str) to int
        Principal quantum number and letter of a subshell to its number of electrons.

    Examples
    --------
    >>> electron_configuration(6)
    {(1, 's'): 2, (2, 's'): 2, (2, 'p'): 2}
    """
    shells = [(n, letter) for n in range(1, 8) for letter in "spdf"[: min(n, 4)]]
    filled: dict[tuple[int, str], int] = {}
    left = z
    for shell in sorted(shells, key=_madelung):
        filled[shell] = min(left, _CAPACITY[shell[1]])
        left -= filled[shell]
    for symbol, changes in _EXCEPTIONS.items():
        if atomic_numbers[symbol] == z:
            for change in changes.split():
                filled[int(change[0]), change[1]] = int(change[2:])
    return {shell: count for shell, count in filled.items() if count}


@cache
def element_table(table: Table = "current") -> NDArray[np.float64]:
    r"""Return the valence-orbital vectors of the elements.

    Parameters
    ----------
    table : {"current", "paper"}
        Which subshell counts as the outermost: the last of Madelung's order
        ("current": matminer 0.10 with a pymatgen of 2024-08 or later) or the last by
        :math:`(n, l)` ("paper": older versions, and all out-of-distribution splits
        published so far).

    Returns
    -------
    ndarray of shape (95, 32)
        Row `z` has ones at the occupations of the valence subshells of element `z`,
        in the order of ``ORBITALS``; row 0 is zero. Read-only.

    Raises
    ------
    ValueError
        If there is no such table.

    Notes
    -----
    With :math:`n` of the outermost subshell, the valence consists of the subshells of
    :math:`n`, the d and f subshells of :math:`n - 1` and the f subshell of
    :math:`n - 2` [1]_. Of 94 elements about 60 vectors are distinct: an orbital field
    matrix cannot tell Li from Na, or O from S.

    References
    ----------
    .. [1] T. Lam Pham et al., Sci. Technol. Adv. Mater. 18, 756 (2017),
       doi:10.1080/14686996.2017.1378060

    Examples
    --------
    >>> [ORBITALS[k] for k in element_table("paper")[26].nonzero()[0]]
    ['s2', 'd6']
    >>> [ORBITALS[k] for k in element_table("current")[26].nonzero()[0]]
    ['s2', 'p6', 'd6']
    """
    if table not in get_args(Table):
        msg = f"table must be 'current' or 'paper', got {table!r}"
        raise ValueError(msg)
    key = _madelung if table == "current" else _by_shell
    vectors = np.zeros((MAX_Z + 1, len(ORBITALS)))
    for z in range(1, MAX_Z + 1):
        shells = electron_configuration(z)
        outermost = max(shells, key=key)[0]
        for (n, letter), count in shells.items():
            depth = outermost - n
            if depth <= {"s": 0, "p": 0, "d": 1, "f": 2}[letter]:
                vectors[z, ORBITALS.index(f"{letter}{count}")] = 1.0
    vectors.flags.writeable = False
    return vectors


@cache
def table_hash(table: Table = "current") -> str:
    """Return the first 16 hexadecimal digits of the sha256 of an element table.

    Parameters
    ----------
    table : {"current", "paper"}

    Returns
    -------
    str

    Examples
    --------
    >>> len(table_hash("current")), table_hash("current") == table_hash("paper")
    (16, False)
    """
    bits = element_table(table).astype(np.uint8)
    return hashlib.sha256(bits.tobytes()).hexdigest()[:16]


def pair_label(column: int) -> str:
    """Return the name of a component of the flattened orbital field matrix.

    Parameters
    ----------
    column : int
        0 to 1023.

    Returns
    -------
    str
        Orbital of the neighbour, then orbital of the centre.

    Examples
    --------
    >>> pair_label(17 * 32 + 5)
    'd10 – p4'
    """
    neighbour, centre = divmod(column, len(ORBITALS))
    return f"{ORBITALS[neighbour]} – {ORBITALS[centre]}"


def name_pair(column: int, numbers: Iterable[int], table: Table = "current") -> str:
    """Return the name of a matrix component with the elements that it comes from.

    Parameters
    ----------
    column : int
        0 to 1023.
    numbers : iterable of int
        Atomic numbers of the structure.
    table : {"current", "paper"}, default "current"
        The element table of the matrix.

    Returns
    -------
    str
        Orbital of the neighbour, then orbital of the centre, each with all elements of
        the structure that have it: the matrix does not tell them apart.

    Raises
    ------
    ValueError
        If no element of the structure has one of the two orbitals.

    Examples
    --------
    >>> name_pair(17 * 32 + 5, [29, 8, 8])
    'Cu d10 – O p4'
    >>> name_pair(17 * 32 + 5, [29, 52])
    'Cu/Te d10 – Te p4'
    """
    vectors = element_table(table)
    names = []
    for orbital in divmod(column, len(ORBITALS)):
        having = [z for z in sorted(set(numbers)) if vectors[z, orbital]]
        if not having:
            msg = f"no element of the structure has the orbital {ORBITALS[orbital]}"
            raise ValueError(msg)
        symbols = "/".join(chemical_symbols[z] for z in having)
        names.append(f"{symbols} {ORBITALS[orbital]}")
    return " – ".join(names)
