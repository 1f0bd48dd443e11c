"""The symmetry operations that a CIF means."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mftscreen.errors import StructureError

__all__ = ["SYMMETRY_TAGS", "Operations", "find_operations", "fits_cell"]

Columns = Mapping[str, Sequence[str]]

MOST_OPERATIONS = 1000
"""A conventional cell has up to 192; all pairs of images are compared."""

_LISTED = (
    "_space_group_symop_operation_xyz",
    "_symmetry_equiv_pos_as_xyz",
)
_HALL = ("_space_group_name_hall", "_symmetry_space_group_name_hall")
_SYMBOL = (
    "_space_group_name_h-m_alt",
    "_symmetry_space_group_name_h-m",
    "_space_group_name_h-m_full",
    "_space_group_name_h-m_ref",
)
_NUMBER = ("_space_group_it_number", "_symmetry_int_tables_number")
_SETTING = ("_space_group_it_coordinate_system_code",)
SYMMETRY_TAGS = frozenset((*_LISTED, *_HALL, *_SYMBOL, *_NUMBER, *_SETTING))
"""All tags that are read here."""
_SUFFIX = re.compile(
    r"\s* (?: : \s*(?P<code>\w+) | \(? origin \s* (?:choice)? \s* (?P<origin>[12]) \)?"
    r" | (?P<icsd> (?<=\s)[HRSZ] | (?-i:(?<=[a-z0-9])[HRSZ])) ) \s* $",
    re.VERBOSE | re.IGNORECASE,
)
_ICSD = {"S": "1", "Z": "2"}
"""How the ICSD names origins, behind symbols without a choice, too."""
_METRIC = 0.03
"""How much, relatively, an operation may change a cell."""
_N_KEPT = 256
"""Groups that are kept for the next crystals: many files have the same."""


class Operations(NamedTuple):
    """One setting of a space group.

    Attributes
    ----------
    name : str
        How to call it in a message.
    rotations : ndarray of shape (n, 3, 3)
    translations : ndarray of shape (n, 3)
        Of fractional coordinates; the centring is in them.
    """

    name: str
    rotations: NDArray[np.float64]
    translations: NDArray[np.float64]

    @property
    def size(self) -> tuple[int, int]:
        """The numbers of different rotations and of different operations."""
        rotations = {tuple(r.ravel().tolist()) for r in self.rotations}
        return len(rotations), len(self._key())

    def same_as(self, other: Operations) -> bool:
        """Tell whether these are the same operations."""
        return self._key() == other._key()

    def _key(self) -> set[tuple[float, ...]]:
        shifts = np.round(self.translations % 1.0, 4) % 1.0
        return {
            (*r.ravel().tolist(), *t.tolist())
            for r, t in zip(self.rotations, shifts, strict=True)
        }


def find_operations(columns: Columns) -> tuple[list[Operations], bool]:
    """Return the settings that a CIF may mean.

    Parameters
    ----------
    columns : mapping of str to sequence of str
        The values of its tags, in lower case.

    Returns
    -------
    settings : list of Operations
        One, if the file says which; all that its symbol leaves open, else.
    contradicted : bool
        Whether the listed operations, or those of the Hall symbol, are too many or too
        few for the Hermann-Mauguin symbol or number that stands beside them; what else
        the file declares must then confirm them.

    Raises
    ------
    StructureError
        If an operation or symbol is not understood, or two symbols contradict.
    """
    written = _first(columns, _SYMBOL)
    symbol, code = _split_symbol(written, _first(columns, _SETTING))
    number = _first(columns, _NUMBER)
    groups = _groups(symbol, code, number)
    hall = _first(columns, _HALL)
    listed = next((columns[tag] for tag in _LISTED if columns.get(tag)), ())
    listed = tuple(text for text in listed if text not in ("?", "."))
    if listed:
        found = _from_triplets(listed)
        return [found], _contradicted(found, groups)
    if hall:
        found = _from_hall(hall)
        fitting = [group for group in groups if group.same_as(found)]
        if code and groups and not fitting:
            msg = f"the space groups {hall!r} (Hall) and {groups[0].name!r} contradict"
            raise StructureError(msg)
        return [found], _contradicted(found, groups)
    if groups:
        return list(groups), False
    if symbol or number:
        msg = (
            f"the space group {written or number!r} is unknown and no operation listed"
        )
        raise StructureError(msg)
    return [Operations("P 1", np.eye(3)[None], np.zeros((1, 3)))], False


def _contradicted(found: Operations, groups: Sequence[Operations]) -> bool:
    """Tell whether operations cannot be those of any of the groups, if there are some.

    Another choice of the axes or the origin changes neither of their numbers.
    """
    return bool(groups) and found.size not in {group.size for group in groups}


def fits_cell(operations: Operations, cell: NDArray[np.float64]) -> bool:
    """Tell whether the operations leave the lengths and angles of a cell unchanged."""
    metric = cell @ cell.T
    changed = np.einsum(
        "nji,jk,nkl->nil", operations.rotations, metric, operations.rotations
    )
    return bool(np.abs(changed - metric).max() <= _METRIC * np.abs(metric).max())


def _first(columns: Columns, tags: Sequence[str]) -> str:
    for tag in tags:
        for value in columns.get(tag, ())[:1]:
            text = value.strip()
            if text not in ("", "?", "."):
                return text
    return ""


def _split_symbol(symbol: str, code: str) -> tuple[str, str]:
    """Return a Hermann-Mauguin symbol and the setting behind it: 1, 2, H, R, S, Z."""
    text = re.sub(r"\s+", " ", symbol.replace("_", "")).strip()
    # R -3 m H R, as some programs have it
    text = re.sub(r"(?i)\bhr$", "h", text)
    match = _SUFFIX.search(text)
    if match:
        given = match["code"] or match["origin"] or match["icsd"]
        return text[: match.start()].strip(), given.upper()
    return text, code.upper() if code.upper() in ("1", "2", "H", "R") else ""


@lru_cache(_N_KEPT)
def _groups(symbol: str, code: str, number: str) -> tuple[Operations, ...]:
    """Return the settings of a symbol or number, all if none is chosen."""
    import gemmi

    origin = _ICSD.get(code)
    code = origin or code
    group = gemmi.find_spacegroup_by_name(symbol) if symbol else None
    if symbol and group is None and code:
        group = gemmi.find_spacegroup_by_name(f"{symbol}:{code}")
    if group is not None and number.isdecimal() and int(number) != group.number:
        msg = (
            f"the space group {symbol!r} is number {group.number}, but number {number} "
            "is declared"
        )
        raise StructureError(msg)
    if group is None and not symbol and number.isdecimal():
        group = gemmi.find_spacegroup_by_number(int(number))
    if group is None:
        return ()
    alike = [
        g
        for g in gemmi.spacegroup_table()
        if g.number == group.number and g.hm == group.hm
    ]
    chosen = [g for g in alike if g.ext == code] if code else alike
    if code and not chosen:
        # one setting needs no name
        if origin or all(g.ext in ("", "\0") for g in alike):
            chosen = alike
        else:
            known = ", ".join(g.ext for g in alike)
            msg = f"{symbol} has the settings {known}, not {code}"
            raise StructureError(msg)
    return tuple(_from_operations(g.xhm(), list(g.operations())) for g in chosen)


def _from_hall(hall: str) -> Operations:
    import gemmi

    try:
        operations = gemmi.symops_from_hall(hall)
    except (ValueError, RuntimeError) as error:
        msg = f"the Hall symbol {hall!r} is not understood: {error}"
        raise StructureError(msg) from error
    return _from_operations(hall, list(operations))


@lru_cache(_N_KEPT)
def _from_triplets(texts: tuple[str, ...]) -> Operations:
    import gemmi

    operations = []
    texts = tuple(dict.fromkeys(text.replace(" ", "").lower() for text in texts))
    if len(texts) > MOST_OPERATIONS:
        msg = f"{len(texts)} operations are listed, and {MOST_OPERATIONS} are read"
        raise StructureError(msg)
    for text in texts:
        try:
            operations.append(gemmi.Op(text))
        except (ValueError, RuntimeError) as error:
            msg = f"the operation {text!r} is not understood: {error}"
            raise StructureError(msg) from error
    return _from_operations("of the listed operations", operations)


def _from_operations(name: str, operations: Sequence[Any]) -> Operations:
    matrices = np.array([op.float_seitz() for op in operations], dtype=float)
    return Operations(name, matrices[:, :3, :3], matrices[:, :3, 3])
