"""Checks that every model must pass."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mftscreen.calculator import MFTCalculator
from mftscreen.errors import DomainWarning, InvalidGeometryError
from mftscreen.model.loaded_model import Model
from mftscreen.predictor import PredictionRow, Predictor

__all__ = ["check_model"]


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
    with warnings.catch_warnings():
        # the numbers have to be consistent whatever they are worth
        warnings.simplefilter("ignore", DomainWarning)
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
