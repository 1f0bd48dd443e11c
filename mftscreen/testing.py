"""A model with closed-form energies, and checks that every model must pass.

Third parties can run the checks on a model of their own::

    from mftscreen.testing import check_model
    check_model(load_model("my.mft"), [bulk("MgO", "rocksalt", a=4.2)])
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols, covalent_radii
from numpy.typing import NDArray

from mftscreen.calculator import MFTCalculator
from mftscreen.errors import InvalidGeometryError, UnknownPropertyError
from mftscreen.model.loaded_model import Model, Prediction
from mftscreen.predictor import PredictionRow, Predictor
from mftscreen.properties import PropertySpec
from mftscreen.structures import (
    check_distances,
    check_sites,
    find_separate_neighbors,
)

__all__ = ["FakeModel", "check_model"]

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


def check_model(
    model: Model, structures: Sequence[Atoms], *, rtol: float = 1e-5
) -> None:
    """Raise AssertionError if a model breaks a rule that every model must keep.

    Finite differences of the energy give forces and stress; translation, rotation,
    permutation and supercells change results as physics says; a batch gives what
    single evaluations give; atoms on top of each other are refused when they are
    evaluated; structures are not changed. The model's
    ``check_structure`` must accept them and what is made of them here.

    Parameters
    ----------
    model : Model
    structures : sequence of Atoms
        At least two, of different sizes, with elements of the model; at least one
        periodic.
    rtol : float
        Relative tolerance where equality is meant; single precision needs 1e-5.
    """
    before = [atoms.copy() for atoms in structures]
    _check_batch(model, structures, rtol)
    _check_overlap(model, structures[0])
    for atoms in structures:
        _check_symmetries(model, atoms, rtol)
        if model.has_energy:
            _check_derivatives(model, atoms)
    for old, new in zip(before, structures, strict=True):
        assert old == new, "a structure was changed"


def _summary(model: Model, atoms: Atoms) -> dict[str, float]:
    (row,) = Predictor(model, energy=model.has_energy)([atoms])
    return _values(row)


def _values(row: PredictionRow) -> dict[str, float]:
    assert row.ok, row.reason
    energy = {} if row.energy is None else {"energy": row.energy}
    return {**energy, **row.properties}


def _check_batch(model: Model, structures: Sequence[Atoms], rtol: float) -> None:
    rows = list(Predictor(model, energy=model.has_energy)(structures))
    assert [row.index for row in rows] == list(range(len(structures)))
    for atoms, row in zip(structures, rows, strict=True):
        single = _summary(model, atoms)
        _assert_close(_values(row), single, rtol, "batch and single evaluation differ")


def _check_overlap(model: Model, atoms: Atoms) -> None:
    overlapping = atoms + atoms[:1]
    overlapping.positions[-1] += 0.1
    for energy in {model.has_energy, False}:
        try:
            model.evaluate([atoms, overlapping], energy=energy, descriptors=True)
        except InvalidGeometryError:
            continue
        msg = "atoms that are too close were evaluated"
        raise AssertionError(msg)


def _check_symmetries(model: Model, atoms: Atoms, rtol: float) -> None:
    reference = _summary(model, atoms)
    rng = np.random.default_rng(0)
    moved = atoms.copy()
    moved.translate(rng.normal(size=3))
    _assert_close(_summary(model, moved), reference, rtol, "translation")
    turned = atoms.copy()
    turned.rotate(57.0, rng.normal(size=3), rotate_cell=True)
    _assert_close(_summary(model, turned), reference, rtol, "rotation")
    shuffled = atoms[rng.permutation(len(atoms))]
    _assert_close(_summary(model, shuffled), reference, rtol, "permutation")
    if atoms.pbc.any():
        repeats = np.where(atoms.pbc, [2, 1, 1], 1)
        n = int(repeats.prod())
        expected = {
            name: value * (1 if _is_intensive(model, name) else n)
            for name, value in reference.items()
        }
        bigger = _summary(model, atoms.repeat(repeats))
        _assert_close(bigger, expected, rtol, "supercell")


def _is_intensive(model: Model, name: str) -> bool:
    return name != "energy" and model.properties[name].intensive


def _check_derivatives(
    model: Model, atoms: Atoms, step: float = 5e-3, tolerance: float = 5e-3
) -> None:
    """Compare forces and stress with central differences of the energy.

    The step is large because energies of a network in single precision are only
    good to about 1e-6 eV per atom.
    """
    calculator = MFTCalculator(model)
    rng = np.random.default_rng(1)
    rattled = atoms.copy()
    rattled.positions += rng.normal(scale=0.05, size=rattled.positions.shape)
    direction = rng.normal(size=rattled.positions.shape)
    direction /= np.linalg.norm(direction)

    def energy(shift: float) -> float:
        shifted = rattled.copy()
        shifted.positions += shift * direction
        return float(calculator.get_potential_energy(shifted))

    forces = calculator.get_forces(rattled)
    _assert_slope(energy, -float((forces * direction).sum()), step, tolerance, "forces")
    if rattled.cell.rank < 3:
        return
    stress = calculator.get_stress(rattled)
    for k, strain in enumerate(_voigt_strains()):

        def strained(size: float, strain: NDArray[np.float64] = strain) -> float:
            deformed = rattled.copy()
            cell = np.asarray(rattled.cell) @ (np.eye(3) + size * strain)
            deformed.set_cell(cell, scale_atoms=True)
            return float(calculator.get_potential_energy(deformed))

        slope = float(stress[k]) * rattled.get_volume()
        _assert_slope(strained, slope, step / 5, tolerance, f"stress[{k}]")


def _voigt_strains() -> list[NDArray[np.float64]]:
    strains = []
    for a, b in [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]:
        strain = np.zeros((3, 3))
        strain[a, b] += 0.5
        strain[b, a] += 0.5
        strains.append(strain)
    return strains


def _assert_slope(
    function: Callable[[float], float],
    slope: float,
    step: float,
    tolerance: float,
    what: str,
) -> None:
    numerical = (function(step) - function(-step)) / (2 * step)
    allowed = tolerance * max(1.0, abs(slope))
    assert abs(numerical - slope) < allowed, f"{what}: {slope} against {numerical}"


def _assert_close(
    found: Mapping[str, float],
    expected: Mapping[str, float],
    rtol: float,
    what: str,
) -> None:
    assert found.keys() == expected.keys(), what
    for name, value in expected.items():
        error = abs(found[name] - value)
        assert error <= rtol * max(1.0, abs(value)), (
            f"{what}: {name} is {found[name]}, expected {value}"
        )
