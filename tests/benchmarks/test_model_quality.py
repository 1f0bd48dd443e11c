"""The benchmarks that say what a model is worth, on data small enough for a test."""

from __future__ import annotations

import importlib
import json
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import write
from ase.md.velocitydistribution import thermalize_momenta
from ase.units import fs
from click.testing import CliRunner

from mftscreen import MFTCalculator, load_model
from mftscreen.screen.relax.batched import RelaxResult

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module(request.param)


def script(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("benchmark", [name], indirect=True)


def run(module: ModuleType, *arguments: object) -> list[str]:
    result = CliRunner().invoke(module.main, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    """A data folder whose pool is four crystals of two atoms, one of them foreign."""
    crystals = [bulk("MgO", "rocksalt", a=a) for a in (4.0, 4.3, 4.4)]
    crystals.append(bulk("NaPo", "rocksalt", a=6.0))
    for number, atoms in enumerate(crystals):
        atoms.info["mb_id"] = f"mb-{number}"
    path = tmp_path / "pools" / "mp_gap_pool20k.extxyz.gz"
    path.parent.mkdir()
    write(path, crystals, format="extxyz")
    return tmp_path


@script("force_field")
def test_force_errors_of_labels_twice_as_large(
    benchmark: ModuleType, tmp_path: Path, tiny_model: Path
) -> None:
    frames = []
    calculator = MFTCalculator(tiny_model)
    total: dict[str, float] = {}
    for seed, symbol in enumerate(("Si", "Si", "Mg")):
        atoms = bulk(symbol).repeat(2)
        atoms.rattle(0.1, seed=seed)
        atoms.calc = calculator
        forces = 2 * atoms.get_forces()
        total[symbol] = total.get(symbol, 0.0) + np.abs(forces).mean()
        crystal = {
            "elements": list(atoms.symbols),
            "coords": atoms.get_scaled_positions().tolist(),
            "lattice_mat": atoms.cell.tolist(),
        }
        frames.append({"atoms": crystal, "forces": forces.tolist()})
    path = tmp_path / benchmark.FILE
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mlearn.json", json.dumps(frames))
    lines = run(benchmark, "--data", tmp_path, "-m", tiny_model)
    table = {line.split()[0]: line.split()[1:] for line in lines[2:]}
    assert [table[k][0] for k in ("Si", "Mg", "all")] == ["96", "48", "144"]
    for _, mae, of_none, slope, with_intercept in table.values():
        assert float(of_none) == pytest.approx(2 * float(mae), abs=1.1e-3)
        assert (slope, with_intercept) == ("0.500", "0.500")
    assert float(table["Si"][2]) == pytest.approx(total["Si"] / 2, abs=1e-3)


@script("force_field")
def test_intercept_is_told_from_slope(benchmark: ModuleType) -> None:
    reference = np.array([0.0, 1.0, 2.0])
    found = benchmark.compare(0.8 * reference + 1.0, reference)
    assert found["slope with intercept"] == pytest.approx(0.8)
    assert found["slope"] == pytest.approx(0.8 + 3 / 5)
    assert found["mae"] == pytest.approx(0.8)


@script("dynamics")
def test_drift_is_the_slope_and_fluctuation_the_rest(benchmark: ModuleType) -> None:
    times = np.linspace(3.0, 13.0, 1001)
    energies = 0.25 * times - 40.0 + np.sqrt(2) * 0.1 * np.sin(20 * np.pi * times)
    drift, fluctuation = benchmark.drift_and_fluctuation(times, energies)
    assert drift == pytest.approx(0.25, abs=5e-3)
    assert fluctuation == pytest.approx(0.1, rel=0.01)


@script("dynamics")
def test_velocity_verlet_conserves_what_it_starts_with(benchmark: ModuleType) -> None:
    atoms = bulk("Cu", cubic=True).repeat(2)
    atoms.calc = EMT()
    thermalize_momenta(atoms, 300, rng=np.random.default_rng(0))
    start = atoms.get_total_energy() / len(atoms)
    energies, kelvins = benchmark.run_verlet(atoms, 2 * fs, 40)
    assert energies[0] == start
    assert len(energies) == len(kelvins) == 5
    assert 0 < np.ptp(energies) < 2e-3
    assert np.ptp(kelvins) > 10  # it moves


@pytest.mark.slow
@script("dynamics")
def test_dynamics_of_the_shipped_model(benchmark: ModuleType) -> None:
    first, last = run(benchmark, "--ps", 0.02, "--equilibration-ps", 0.01)
    assert first.startswith("MgO, 64 atoms")
    assert last.startswith("0.02 ps: drift")


def outcome(benchmark: ModuleType, **changes: object):
    """Return a sound outcome with changes."""
    result = {
        "atoms": Atoms("Si"), "converged": True, "steps": 9, "fmax": 0.01,
        "volume_change": 0.02, "energy": -1.0,
    }  # fmt: skip
    values = {"approach": 0.95, "pair": "O-O", "gain": 0.01}
    for name, value in changes.items():
        (result if name in RelaxResult.__annotations__ else values)[name] = value
    return benchmark.Outcome("x", RelaxResult(**result), **values)


@script("pool_relaxation")
@pytest.mark.parametrize(
    ("changes", "trouble"),
    [
        ({}, ""),
        ({"converged": False, "reason": "not converged"}, ""),
        ({"status": "relaxation_failed", "reason": "stopped"}, "stopped"),
        ({"volume_change": -0.4}, "the volume changes by -40 %"),
        ({"approach": 0.5}, "O-O comes to 0.50 of its shortest distance"),
        ({"gain": 1.5}, "the energy falls by 1.500 eV/atom"),
        ({"gain": -0.1}, "the energy rises by 0.100 eV/atom"),
        ({"gain": np.nan}, "there is no finite number to compare with the start"),
    ],
)
def test_what_counts_as_an_explosion(
    benchmark: ModuleType, changes: dict[str, object], trouble: str
) -> None:
    assert outcome(benchmark, **changes).explosion == trouble


@script("pool_relaxation")
def test_closest_approach_is_that_of_a_pair_of_elements(benchmark: ModuleType) -> None:
    before = bulk("MgO", "rocksalt", a=4.2, cubic=True)
    after = before.copy()
    after.positions[0] += 0.3 * (after.positions[2] - after.positions[0])  # Mg to Mg
    assert set(before.symbols[[0, 2]]) == {"Mg"}
    found, pair = benchmark.closest_approach(before, after)
    assert (found, pair) == (pytest.approx(0.7), "Mg-Mg")
    lone = Atoms("Si")
    assert benchmark.closest_approach(lone, lone) == (1.0, "")
    # beyond the cutoff both are as far as the cutoff
    far, near = (Atoms("NaCl", [(0, 0, 0), (0, 0, z)]) for z in (9.0, 4.0))
    assert benchmark.closest_approach(far, near) == (0.8, "Cl-Na")


@script("pool_relaxation")
def test_relaxed_pool(benchmark: ModuleType, pool: Path) -> None:
    lines = run(benchmark, "--data", pool, "-n", 3, "-o", pool / "out.extxyz")
    assert lines[0] == "3 structures of 2-2 atoms, seed 0"
    assert lines[1].startswith("3 of 3 converge without explosion")
    assert (pool / "out.extxyz").exists()
    lines = run(benchmark, "--data", pool, "-n", 3, "--steps", 1)
    assert lines[1].startswith("0 of 3 converge without explosion: 0 converge")
    assert sum("not converged in 1 steps" in line for line in lines) == 3


@script("pool_relaxation")
def test_report_of_outcomes_without_numbers(
    benchmark: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = {"status": "relaxation_failed", "reason": "stopped", "gain": np.nan}
    benchmark.report([outcome(benchmark, **failed)])
    assert capsys.readouterr().out.splitlines() == [
        "0 of 1 converge without explosion: 1 converge, 1 explode",
        "  x: stopped",
    ]
    benchmark.report([outcome(benchmark), outcome(benchmark, gain=np.nan)])
    text = capsys.readouterr().out
    assert text.startswith("1 of 2 converge without explosion")
    assert "energy released, eV/atom                 median 0.01, 90 %" in text
    assert "nan" not in text


@pytest.mark.parametrize("count", [0, 4])
@script("pool_relaxation")
def test_more_than_the_pool_has_cannot_be_drawn(
    benchmark: ModuleType, pool: Path, count: int
) -> None:
    arguments = ["--data", str(pool), "-n", str(count)]
    result = CliRunner().invoke(benchmark.main, arguments)
    assert result.exit_code == 1
    assert f"{count} structures (-n) cannot be drawn: " in result.stderr
    assert "has 3 that can be used" in result.stderr


@script("throughput")
def test_throughput_leaves_foreign_elements_out(
    benchmark: ModuleType, pool: Path, tiny_model: Path
) -> None:
    lines = run(
        benchmark, "--data", pool, "-m", tiny_model, "--rounds", 1, "--threads", 1,
        "-n", 3,
    )  # fmt: skip
    assert lines[0] == "3 structures of 2.0 atoms on average, 1 threads, seed 0"
    assert [line.split()[0] for line in lines[1:]] == ["gap", "E+F+S", *2 * ["E+F+S"]]
    drawn = benchmark.draw(pool / benchmark.FILE, load_model(tiny_model), 2, seed=1)
    assert [str(atoms.symbols) for atoms in drawn] == ["MgO", "MgO"]
