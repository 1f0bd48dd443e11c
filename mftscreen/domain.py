"""Domains: which structures a head is for, and what it cannot know of others.

A head gives a number for any structure. What it was trained on says for which this
number means something: a head of bulk crystals is no judge of a molecule, a slab or a
cluster in a periodic box, and none that was trained on neutral structures sees a
charge.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

import numpy as np
from ase import Atoms
from ase.geometry import minkowski_reduce
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

__all__ = ["HeadDomain", "StructureKind", "find_kind", "total_charge", "widest_gap"]

StructureKind = Literal["crystals", "molecules", "low-dimensional"]

VACUUM = 6.0
"""Å between two planes of atoms from which on there is vacuum. Of the 15,751 crystals
of MatBench's dielectric and log_gvrh, none that is connected has more than 5.0 Å (a
layered one), and those in vacuum have 7.7 Å or more (:func:`widest_gap`)."""

LEAST_SHARE = 0.05
"""Of the training set, below which structures of a kind are strays: the crystals of
MatBench's dielectric hold 0.5 % of layers in vacuum, which makes no model of layers."""

_NOT_BULK = "a slab, a layer, a chain or a molecule in a box"

_MEANT = {"low-dimensional": "slabs, layers and the like"}


class HeadDomain(BaseModel):
    """The structures that a head was trained on.

    Attributes
    ----------
    kinds : tuple of {"crystals", "molecules", "low-dimensional"}
        Those that make more than a stray part of the training set.
    n_atoms : tuple of int, optional
        Fewest and most atoms of its molecules.
    charged : bool
        Whether some of it has a charge.
    radicals : bool
        Whether some molecule of it has an odd number of electrons.

    Examples
    --------
    >>> from ase.build import bulk, molecule
    >>> domain = HeadDomain.of([molecule("CH4"), molecule("C2H6")])
    >>> domain.refusal(bulk("NaCl", "rocksalt", a=5.6))
    'it is for molecules, and this is periodic'
    >>> domain.doubts(molecule("C3H8"))
    ('larger (11 atoms) than what it was trained on (5 to 8)',)
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kinds: tuple[StructureKind, ...]
    n_atoms: tuple[int, int] | None = None
    charged: bool = False
    radicals: bool = False

    @classmethod
    def of(cls, structures: Sequence[Atoms]) -> HeadDomain:
        """Return the domain of a training set.

        Parameters
        ----------
        structures : sequence of Atoms
        """
        counts = Counter(map(find_kind, structures))
        least = LEAST_SHARE * len(structures)
        molecules = [atoms for atoms in structures if not atoms.pbc.any()]
        sizes = [len(atoms) for atoms in molecules]
        return cls(
            kinds=tuple(sorted(k for k, n in counts.items() if n >= least)),
            n_atoms=(min(sizes), max(sizes)) if sizes else None,
            charged=any(total_charge(atoms) != 0 for atoms in structures),
            radicals=any(map(_is_radical, molecules)),
        )

    def refusal(self, atoms: Atoms) -> str:
        """Return why a value for a structure means nothing; empty if it may mean some.

        Parameters
        ----------
        atoms : Atoms
        """
        kind = find_kind(atoms)
        if kind in self.kinds or not self.kinds:
            return ""
        meant = " and ".join(_MEANT.get(each, each) for each in self.kinds)
        if kind == "molecules":
            return f"it is for {meant}, and this is not periodic"
        if kind == "crystals":
            return f"it is for {meant}, and this is periodic"
        text = f"it is for {meant}, and this is {_NOT_BULK}"
        if not atoms.pbc.all():
            return f"{text}: it is periodic in {int(atoms.pbc.sum())} of 3 directions"
        text += f": {widest_gap(atoms):.1f} Å of it are without atoms"
        if "molecules" in self.kinds:
            text += ". Set atoms.pbc = False if it is a molecule"
        return text

    def doubts(self, atoms: Atoms) -> tuple[str, ...]:
        """Return what the head cannot know of a structure that it is for.

        Parameters
        ----------
        atoms : Atoms
        """
        found = []
        charge = total_charge(atoms)
        if charge and not self.charged:
            found.append(f"a charge of {charge:+g}, which the model does not see")
        if not atoms.pbc.any():
            if self.n_atoms is not None:
                least, most = self.n_atoms
                if not least <= len(atoms) <= most:
                    size = "larger" if len(atoms) > most else "smaller"
                    found.append(
                        f"{size} ({len(atoms)} atoms) than what it was trained on "
                        f"({least} to {most})"
                    )
            if not self.radicals and _is_radical(atoms):
                found.append("an odd number of electrons, which it never saw")
        return tuple(found)


def find_kind(atoms: Atoms) -> StructureKind:
    """Return what kind of structure it is.

    Parameters
    ----------
    atoms : Atoms

    Returns
    -------
    {"crystals", "molecules", "low-dimensional"}
        Without periodic directions a molecule (or cluster), with three of them and no
        vacuum a crystal.

    Examples
    --------
    >>> from ase.build import bulk, fcc111, molecule
    >>> find_kind(bulk("Cu")), find_kind(molecule("H2O"))
    ('crystals', 'molecules')
    >>> slab = fcc111("Cu", (1, 1, 4), vacuum=6.0, periodic=True)
    >>> find_kind(slab)
    'low-dimensional'
    """
    if not atoms.pbc.any():
        return "molecules"
    if not atoms.pbc.all() or widest_gap(atoms) > VACUUM:
        return "low-dimensional"
    return "crystals"


def widest_gap(atoms: Atoms) -> float:
    """Return the widest distance between neighbouring planes of atoms.

    Parameters
    ----------
    atoms : Atoms
        Periodic in three directions, not flat.

    Returns
    -------
    float
        In Å, across the faces of the cell and of the reduced one; 0 where none can be
        wider than ``VACUUM``.

    Examples
    --------
    >>> from ase.build import graphene
    >>> sheet = graphene(vacuum=10.0)
    >>> sheet.pbc = True
    >>> round(widest_gap(sheet), 6)
    20.0
    """
    cell: NDArray[np.float64] = np.asarray(atoms.cell)
    gram = cell @ cell.T
    squares = gram.diagonal()
    # no height of the reduced cell is greater than its longest vector, nor that than
    # the longest of this one
    if squares.max() <= VACUUM**2:
        return 0.0
    least = np.minimum(squares, squares[:, None])
    if (2.0 * np.abs(gram) > (1.0 + 1e-9) * least).sum() <= 3:  # itself, three times
        return _gap_across(cell, atoms.positions)
    # a slab's plane may be a face of this cell and not of the reduced one
    reduced, _ = minkowski_reduce(cell, True)
    return max(_gap_across(each, atoms.positions) for each in (cell, reduced))


def _gap_across(cell: NDArray[np.float64], positions: NDArray[np.float64]) -> float:
    """Return the widest gap between planes that are parallel to a face of a cell."""
    inverse = np.linalg.inv(cell)
    heights = (inverse**2).sum(axis=0) ** -0.5
    if heights.max() <= VACUUM:
        return 0.0
    places = np.sort((positions @ inverse) % 1.0, axis=0)
    last = 1.0 + places[0] - places[-1]
    inner = (places[1:] - places[:-1]).max(axis=0, initial=0.0)
    return float((np.maximum(inner, last) * heights).max())


def total_charge(atoms: Atoms) -> float:
    """Return the charge of a structure, as far as it says so.

    Parameters
    ----------
    atoms : Atoms
        With ``info["charge"]`` or ``info["total_charge"]``, the attribute ``charge``
        that pymatgen's adaptor sets, or initial charges.

    Returns
    -------
    float
        In elementary charges; 0 where nothing is said, and for oxidation states, which
        add up to nothing.
    """
    for said in (
        atoms.info.get("charge"),
        atoms.info.get("total_charge"),
        getattr(atoms, "charge", None),
    ):
        if isinstance(said, int | float | np.number) and np.isfinite(said):
            return float(said)
    if not atoms.has("initial_charges"):
        return 0.0
    charge = float(atoms.get_initial_charges().sum())
    return charge if np.isfinite(charge) and abs(charge) > 0.1 else 0.0


def _is_radical(atoms: Atoms) -> bool:
    return bool((int(atoms.numbers.sum()) - round(total_charge(atoms))) % 2)
