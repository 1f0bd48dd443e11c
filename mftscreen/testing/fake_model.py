"""A model with closed-form energies."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols, covalent_radii

from mftscreen.errors import UnknownPropertyError
from mftscreen.model.domain_check import DomainCheck
from mftscreen.model.loaded_model import Prediction
from mftscreen.properties import PropertySpec
from mftscreen.structures import (
    check_distances,
    check_sites,
    find_separate_neighbors,
)

__all__ = ["FakeModel"]

CUTOFF = 5.0


class FakeModel:
    r"""A pair potential with an intensive and an extensive property.

    Attributes
    ----------
    calls : list
        One entry per evaluation: the names that were asked for.

    Notes
    -----
    The energy is :math:`\frac12\sum_{ij} \epsilon [(s_{ij}/r)^6 - 1](1 - r/r_c)^2`
    with :math:`s_{ij}` the sum of covalent radii, smooth at the cutoff. ``softness``
    is the mean, ``bulkiness`` the sum over atoms of :math:`\sum_j (1 - r/r_c)^2`.
    """

    type_map = tuple(chemical_symbols[1:95])
    properties: Mapping[str, PropertySpec] = {
        "softness": PropertySpec(name="softness", label="softness"),
        "bulkiness": PropertySpec(
            name="bulkiness", label="bulkiness", unit="eV", head="extensive"
        ),
    }
    has_energy = True
    lenient = False
    sha256 = hashlib.sha256(b"FakeModel").hexdigest()

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def check_structure(
        self, atoms: Atoms, *, energy: bool = False, distances: bool = True
    ) -> None:
        """Raise if a structure cannot be evaluated; its energy always can.

        Raises
        ------
        StructureError
            See :func:`mftscreen.structures.check_structure`.
        """
        check_sites(atoms, self.type_map)
        if distances:
            check_distances(atoms)

    def judge_domain(
        self, atoms: Atoms, properties: Sequence[str], *, energy: bool = False
    ) -> DomainCheck:
        """Return that nothing is refused: closed forms hold for any structure."""
        return DomainCheck()

    def evaluate(
        self,
        structures: Sequence[Atoms],
        *,
        energy: bool = False,
        derivatives: bool = True,
        properties: Sequence[str] = (),
        descriptors: bool = False,
    ) -> list[Prediction]:
        """Evaluate structures one by one, as a :class:`.Model` does.

        Raises
        ------
        UnknownPropertyError
            For any property but ``softness`` and ``bulkiness``.
        InvalidGeometryError
            If two atoms of a structure are too close.
        """
        unknown = [name for name in properties if name not in self.properties]
        if unknown:
            msg = f"FakeModel does not predict {', '.join(unknown)}"
            raise UnknownPropertyError(msg)
        self.calls.append([*(["energy"] if energy else []), *properties])
        return [
            self._evaluate(atoms, energy, derivatives, properties, descriptors)
            for atoms in structures
        ]

    def _evaluate(
        self,
        atoms: Atoms,
        energy: bool,
        derivatives: bool,
        properties: Sequence[str],
        descriptors: bool,
    ) -> Prediction:
        i, j, shifts, r = find_separate_neighbors(atoms, CUTOFF)
        vectors = (
            atoms.positions[j] - atoms.positions[i] + shifts @ np.asarray(atoms.cell)
        )
        taper = (1 - r / CUTOFF) ** 2
        crowding = np.zeros(len(atoms))
        np.add.at(crowding, i, taper)
        values = {"softness": crowding.mean(), "bulkiness": crowding.sum()}
        radii = covalent_radii[atoms.numbers]
        core = ((radii[i] + radii[j]) / r) ** 6 - 1
        forces, virial = None, None
        if energy and derivatives:
            slope = -6 * (core + 1) / r * taper - 2 * core * (1 - r / CUTOFF) / CUTOFF
            pull = (slope / r)[:, None] * vectors
            forces = np.zeros((len(atoms), 3))
            np.add.at(forces, i, pull)
            virial = -0.5 * vectors.T @ pull
        return Prediction(
            energy=float(0.5 * (core * taper).sum()) if energy else None,
            forces=forces,
            virial=virial,
            properties={name: float(values[name]) for name in properties},
            descriptors=crowding[:, None] if descriptors else None,
        )
