"""The rows that are split."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray

from mftscreen.errors import DataError
from mftscreen.structures import structure_hash

__all__ = ["SplitData", "check_unique", "structure_key"]

N_KEY = 16
"""Digits of a structure's hash that tell it from the other rows of a split."""


@dataclass(frozen=True, eq=False)
class SplitData:
    """The rows that are split.

    Parameters
    ----------
    ids : sequence of str
        Unique.
    structures : sequence of Atoms
    targets : array-like of shape (n_rows,)
        Finite.

    Raises
    ------
    DataError
        If lengths differ, an id stands twice, a target is not finite, or there are
        fewer than two rows.
    """

    ids: Sequence[str]
    structures: Sequence[Atoms]
    targets: ArrayLike
    values: NDArray[np.float64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        values = np.asarray(self.targets, dtype=np.float64)
        object.__setattr__(self, "values", values)
        n = len(self.ids)
        if values.shape != (n,) or len(self.structures) != n:
            msg = (
                f"{n} ids, {len(self.structures)} structures and targets of shape "
                f"{values.shape}; one of each per row is expected"
            )
            raise DataError(msg)
        if n < 2:
            msg = f"a split needs at least 2 rows, got {n}"
            raise DataError(msg)
        check_unique(self.ids, "row id")
        if not np.isfinite(values).all():
            row = int(np.argmin(np.isfinite(values)))
            msg = f"the target of row {self.ids[row]} is {values[row]}"
            raise DataError(msg)

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def structure_keys(self) -> tuple[str, ...]:
        """What tells the structures apart, in their order."""
        return tuple(each[:N_KEY] for each in self._hashes)

    @cached_property
    def _hashes(self) -> list[str]:
        return list(map(structure_hash, self.structures))

    @cached_property
    def hash(self) -> str:
        """The sha256 of all rows in their order: id, structure and target."""
        digest = hashlib.sha256()
        for name, own, value in zip(self.ids, self._hashes, self.values, strict=True):
            # JSON keeps ids and values apart, whatever an id holds; repr is exact
            row = json.dumps([name, own, repr(float(value))])
            digest.update(row.encode())
        return digest.hexdigest()


def structure_key(atoms: Atoms) -> str:
    """Return the start of a structure's hash, enough for the rows of a split.

    Parameters
    ----------
    atoms : Atoms
    """
    return structure_hash(atoms)[:N_KEY]


def check_unique(names: Sequence[str], what: str) -> None:
    """Raise a DataError that names the first of `names` to stand twice."""
    if len(set(names)) < len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        msg = f"{what} {twice!r} stands more than once"
        raise DataError(msg)
