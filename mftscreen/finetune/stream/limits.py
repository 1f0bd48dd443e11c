"""Which frames of a stream are trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from mftscreen.data.dataset import LabelledStructure, force_field_labels
from mftscreen.data.readers import Row
from mftscreen.errors import DataError, StructureError
from mftscreen.structures import (
    check_sites,
    count_neighbors,
    find_separate_neighbors,
    reduced_formula,
)

__all__ = ["FrameLimits", "Miss"]

Miss = Literal[
    "other elements",
    "too many atoms",
    "too large a force",
    "composition of a test",
    "unusable",
    "too many neighbours",
]
"""Why a frame is left out."""


@dataclass(frozen=True)
class FrameLimits:
    """Which frames are trained on.

    Attributes
    ----------
    elements : sequence of str
        That are allowed; the model knows them.
    max_atoms : int or None
    max_force : float or None
        eV/Å; the largest norm.
    formulas : sequence of str
        Reduced ones, which are left out.
    cutoffs : tuple of float
        Of edges and angles, in Å.
    neighbors : tuple of int or None
        Most neighbours within these that an atom may have.
    """

    elements: Sequence[str]
    max_atoms: int | None
    max_force: float | None
    formulas: Sequence[str]
    cutoffs: tuple[float, float]
    neighbors: tuple[int, int] | None = None

    def check(self, name: str, row: Row) -> LabelledStructure | tuple[Miss, str]:
        """Return a frame with its labels, or why it is left out.

        Parameters
        ----------
        name : str
        row : Row
        """
        atoms = row.structure
        if not isinstance(atoms, Atoms):
            return "unusable", str(atoms)
        if self.max_atoms is not None and len(atoms) > self.max_atoms:
            return "too many atoms", ""
        # by numbers: files may have some without a symbol
        if not self._numbers.issuperset(atoms.numbers.tolist()):
            return "other elements", ""
        if self.formulas and reduced_formula(atoms) in self._formulas:
            return "composition of a test", ""
        try:
            labels = force_field_labels(atoms)
            check_sites(atoms, self._elements)
            if atoms.pbc.any() and not atoms.pbc.all():
                return "unusable", "is periodic in some directions only"
            forces = np.linalg.norm(labels["force"], axis=1)
            if self.max_force is not None and forces.max() > self.max_force:
                return "too large a force", ""
            pairs = find_separate_neighbors(atoms, self.cutoffs[0])
        except (DataError, StructureError) as error:
            return "unusable", str(error)
        if self.neighbors is not None:
            found = count_neighbors(pairs, self.cutoffs)
            if (found > self.neighbors).any():
                return "too many neighbours", ""
        return LabelledStructure(name, atoms, labels)

    @cached_property
    def _elements(self) -> frozenset[str]:
        return frozenset(self.elements)

    @cached_property
    def _numbers(self) -> frozenset[int]:
        return frozenset(atomic_numbers[symbol] for symbol in self.elements)

    @cached_property
    def _formulas(self) -> frozenset[str]:
        return frozenset(self.formulas)
