"""The calculator in the hands of other packages; those not installed are skipped."""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.filters import FrechetCellFilter
from ase.md.velocitydistribution import thermalize_momenta
from ase.md.verlet import VelocityVerlet
from ase.mep import NEB
from ase.optimize import FIRE
from joblib import Parallel, delayed

from mftscreen import MFTCalculator, relax
from mftscreen.testing import FakeModel


@pytest.fixture
def calculator() -> MFTCalculator:
    return MFTCalculator(FakeModel())


@pytest.fixture
def crystal() -> Atoms:
    (found,) = relax(bulk("MgO", "rocksalt", a=4.2), FakeModel(), fmax=1e-4)
    return found


def vacancy_hop(
    calculators: Callable[[], MFTCalculator], *, shared: bool = False, **options: bool
) -> list[float]:
    """Return the energies along a band, a magnesium atom hopping to a vacancy."""
    perfect = bulk("MgO", "rocksalt", a=4.2, cubic=True).repeat((2, 1, 1))
    first, second = np.flatnonzero(perfect.symbols == "Mg")[:2]
    start, end = perfect.copy(), perfect.copy()
    end.positions[second] = perfect.positions[first]
    del start[first], end[first]
    images = [start, *(start.copy() for _ in range(3)), end]
    for image in images:
        image.calc = calculators()
    band = NEB(
        images, allow_shared_calculator=shared, method="improvedtangent", **options
    )
    band.interpolate(mic=True)
    FIRE(band, logfile=None).run(fmax=0.01, steps=5)
    return [image.get_potential_energy() for image in images]


def test_elastic_bands(calculator: MFTCalculator) -> None:
    energies = vacancy_hop(lambda: calculator, shared=True)
    assert energies[0] == pytest.approx(energies[-1])
    assert energies[2] != pytest.approx(energies[0], abs=0.1)
    own = vacancy_hop(lambda: MFTCalculator(calculator.model))
    assert own == pytest.approx(energies)
    # as many threads as images
    threads = vacancy_hop(lambda: MFTCalculator(calculator.model), parallel=True)
    assert threads == pytest.approx(energies)


def test_dynamics_and_cell_filters(calculator: MFTCalculator) -> None:
    atoms = bulk("MgO", "rocksalt", a=4.2, cubic=True)
    atoms.calc = calculator
    thermalize_momenta(atoms, 300, rng=np.random.default_rng(0))
    energy = atoms.get_total_energy()
    VelocityVerlet(atoms, 1 * units.fs).run(50)
    assert atoms.get_total_energy() == pytest.approx(energy, abs=1e-3 * len(atoms))
    assert FIRE(FrechetCellFilter(atoms), logfile=None).run(fmax=0.02, steps=300)


def evaluate(atoms: Atoms) -> tuple[float, float]:
    return atoms.get_potential_energy(), atoms.get_stress()[0]


@pytest.fixture
def expected(tiny_model: Path) -> tuple[list[Atoms], list[tuple[float, float]]]:
    calculator = MFTCalculator(tiny_model, check_domain=False)
    structures = [bulk("MgO", "rocksalt", a=a) for a in (4.1, 4.2, 4.3)]
    for atoms in structures:
        atoms.calc = calculator
    # from the last to the first: what the calculator holds is of the first
    values = [evaluate(atoms) for atoms in reversed(structures)]
    return structures, values[::-1]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_joblib(expected, backend: str) -> None:
    structures, values = expected
    jobs = (delayed(evaluate)(atoms) for atoms in structures)
    found = Parallel(2, backend=backend)(jobs)
    np.testing.assert_allclose(found, values, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_forked_processes(expected) -> None:
    structures, values = expected
    with get_context("fork").Pool(2) as pool:
        found = pool.map_async(evaluate, structures).get(timeout=120)
    np.testing.assert_allclose(found, values, rtol=1e-6)


def optical_frequency(atoms: Atoms, calculator: MFTCalculator) -> float:
    """Return the frequency (THz) at which sublattices of two atoms move as wholes."""
    moved = atoms.copy()
    moved.positions[1, 0] += 0.01
    moved.calc = calculator
    constant = -moved.get_forces()[1, 0] / 0.01
    mass = np.prod(moved.get_masses()) / moved.get_masses().sum()
    return float(np.sqrt(constant / mass) * units.s / (2e12 * np.pi))


def bulk_modulus(atoms: Atoms, calculator: MFTCalculator) -> float:
    """Return the bulk modulus (GPa), from the pressure of two strained cells."""
    pressures = []
    for strain in (-0.001, 0.001):
        strained = atoms.copy()
        strained.set_cell(atoms.cell * (1 + strain), scale_atoms=True)
        strained.calc = calculator
        pressures.append(-strained.get_stress()[:3].mean())
    return float((pressures[0] - pressures[1]) / 0.006 / units.GPa)


def test_phonopy(calculator: MFTCalculator, crystal: Atoms) -> None:
    phonopy = pytest.importorskip("phonopy", reason="phonopy makes the displacements")
    cell = phonopy.structure.atoms.PhonopyAtoms(
        symbols=crystal.get_chemical_symbols(),
        positions=crystal.positions,
        cell=crystal.cell,
    )
    phonons = phonopy.Phonopy(cell, supercell_matrix=3 * np.eye(3, dtype=int))
    phonons.generate_displacements(distance=0.01)
    forces = []
    for displaced in phonons.supercells_with_displacements:
        atoms = Atoms(
            displaced.symbols, displaced.positions, cell=displaced.cell, pbc=True
        )
        atoms.calc = calculator
        forces.append(atoms.get_forces())
    phonons.forces = forces
    phonons.produce_force_constants()
    (found,) = phonons.run_qpoints([[0, 0, 0]]).frequencies
    assert np.abs(found[:3]).max() < 0.1
    assert found[3:] == pytest.approx(optical_frequency(crystal, calculator), rel=0.01)


@pytest.mark.filterwarnings("ignore")
def test_matcalc(
    calculator: MFTCalculator,
    crystal: Atoms,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    matcalc = pytest.importorskip("matcalc", reason="needs matcalc")
    monkeypatch.chdir(tmp_path)  # it writes phonon.yaml
    stretched = bulk("MgO", "rocksalt", a=4.3)
    relaxed = matcalc.RelaxCalc(calculator, fmax=1e-3).calc(stretched)
    assert relaxed["volume"] == pytest.approx(crystal.get_volume(), rel=1e-3)
    elasticity = matcalc.ElasticityCalc(
        calculator,
        norm_strains=(-0.002, 0.002),
        shear_strains=(-0.002, 0.002),
        fmax=1e-4,
        units_GPa=True,
    ).calc(stretched)
    modulus = bulk_modulus(crystal, calculator)
    assert elasticity["bulk_modulus_vrh"] == pytest.approx(modulus, rel=0.02)
    # at more, another shell comes within the cutoff, and the curve has a kink
    curve = matcalc.EOSCalc(calculator, fmax=1e-4, max_abs_strain=0.003)
    assert curve.calc(stretched)["bulk_modulus_bm"] == pytest.approx(modulus, rel=0.05)
    phonons = matcalc.PhononCalc(
        calculator, supercell_matrix=3 * np.eye(3, dtype=int), fmax=1e-4
    ).calc(stretched)
    (found,) = phonons["phonon"].run_qpoints([[0, 0, 0]]).frequencies
    assert found[-1] == pytest.approx(optical_frequency(crystal, calculator), rel=0.02)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_atomate2(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # it writes final_atoms_object.xyz
    jobs = pytest.importorskip("atomate2.forcefields.jobs", reason="needs atomate2")
    from jobflow import run_locally
    from pymatgen.io.ase import AseAtomsAdaptor

    atoms = bulk("MgO", "rocksalt", a=4.2)
    options = {"model": str(tiny_model), "check_domain": False}
    job = jobs.ForceFieldStaticMaker(
        force_field_name={"@module": "mftscreen", "@callable": "MFTCalculator"},
        calculator_kwargs=options,
    ).make(AseAtomsAdaptor.get_structure(atoms))
    (responses,) = run_locally(job, ensure_success=True, log=False).values()
    atoms.calc = MFTCalculator(**options)
    energy = responses[1].output.output.energy
    assert energy == pytest.approx(atoms.get_potential_energy(), rel=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_quacc(
    calculator: MFTCalculator,
    crystal: Atoms,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("QUACC_RESULTS_DIR", str(tmp_path))
    recipes = pytest.importorskip("quacc.recipes.mlip.core", reason="needs quacc")
    pytest.importorskip("matcalc", reason="quacc needs matcalc here")
    monkeypatch.chdir(tmp_path)
    found = recipes.relax_job(
        bulk("MgO", "rocksalt", a=4.3),
        "matcalc",
        name=calculator,
        relax_cell=True,
        opt_params={"fmax": 1e-3},
        write_files=False,
    )
    energy = crystal.get_potential_energy()
    assert found["results"]["energy"] == pytest.approx(energy, abs=1e-4)
