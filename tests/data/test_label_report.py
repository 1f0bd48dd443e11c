from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from mftscreen.data.dataset import force_field_labels
from mftscreen.data.label_report import LabelReport, check_units, unused_keys
from mftscreen.data.sources import read_force_field, read_labelled
from mftscreen.errors import DataError

STRESS = np.array([0.01, -0.02, 0.03, 0.004, -0.005, 0.006])


def frame(**results: object) -> Atoms:
    atoms = bulk("MgO", "rocksalt", a=4.2)
    forces = np.array([[0.0, 0.0, 0.1], [0.0, 0.0, -0.1]])
    standard = {"energy": -1.0, "forces": forces, "stress": STRESS}
    atoms.calc = SinglePointCalculator(atoms, **{**standard, **results})
    return atoms


def virial(atoms: Atoms) -> np.ndarray:
    return force_field_labels(atoms)["virial"]


@pytest.mark.parametrize("key", ["virial", "virials"])
def test_virial_that_is_the_same_is_accepted(key: str) -> None:
    atoms = frame()
    expected = virial(atoms)
    atoms.info[key] = expected.ravel() * 1.001
    np.testing.assert_array_equal(virial(atoms), expected)


@pytest.mark.parametrize(
    ("factor", "hint"),
    [
        (-1.0, "of opposite sign"),
        (1 / units.GPa, "GPa"),
        (-10 / units.GPa, "of opposite sign, as if one were in other units (.*kbar"),
        (1.2, "contradict"),
    ],
)
def test_virial_that_contradicts_the_stress(factor: float, hint: str) -> None:
    atoms = frame()
    atoms.info["virial"] = factor * virial(atoms)
    with pytest.raises(DataError, match=hint.replace("(", r"\(")) as caught:
        force_field_labels(atoms)
    assert "has the trace" in str(caught.value)


def test_two_virials_that_contradict() -> None:
    atoms = frame()
    atoms.info = {"virial": np.eye(3), "virials": -np.eye(3)}
    del atoms.calc.results["stress"]
    with pytest.raises(DataError, match=r"virial and virials contradict .* opposite"):
        force_field_labels(atoms)


def test_missing_labels_name_what_is_there_instead() -> None:
    atoms = bulk("Si")
    atoms.info = {"REF_energy": -1.0, "config_type": "forces", "stress_weight": 1.0}
    atoms.arrays["dft_force"] = np.zeros((2, 3))
    with pytest.raises(DataError, match="there is REF_energy, dft_force, stress_wei"):
        force_field_labels(atoms)


def test_keys_that_were_not_used() -> None:
    atoms = frame(free_energy=-1.1, energies=np.ones(2), stresses=np.ones((2, 6)))
    atoms.info = {"virials": np.eye(3), "note": "no force", "energy_unit": "eV"}
    labels = force_field_labels(frame())
    assert unused_keys(atoms, labels) == set()
    atoms.info["virial"] = np.eye(3)
    assert unused_keys(atoms, labels) == {"virials"}
    del labels["virial"]
    assert unused_keys(atoms, labels) == {"stress", "stresses", "virial", "virials"}
    del labels["energy"]
    assert unused_keys(atoms, labels) >= {"energy", "energies", "free_energy"}


def test_virial_without_a_cell_is_counted() -> None:
    report = LabelReport(Path("a.traj"))
    report.add(Atoms("H", pbc=True), {"virial": np.eye(3)})
    report.say()


def test_other_spellings_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    nine = "4.2 0 0 0 4.2 0 0 0 4.2"
    comment = f'Lattice="{nine}" Energy=-1 Stress="{nine}" Virial="1 2 3"'
    columns = "Properties=species:S:1:pos:R:3:force:R:3"
    text = f"1\n{comment} {columns}\nH 0 0 0 0 0 0\n"
    (tmp_path / "a.xyz").write_text(text + text.replace("Energy", "energy"))
    with caplog.at_level(logging.INFO, "mftscreen.data.label_report"):
        list(read_force_field(tmp_path / "a.xyz"))
    _, spelled, unused, _ = (record.getMessage() for record in caplog.records)
    assert spelled.endswith(
        "read Energy as energy (1), Stress as stress (2), force as forces (2)"
    )
    assert "look like labels: Virial (2);" in unused


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("energy_unit", "eV"),
        ("forces_unit", "eV/A"),
        ("force_units", "eV/Angstrom"),
        ("stress_unit", "eV/Å**3"),
        ("stress_unit", "eV/Ang^3"),
        ("length_unit", "bohr"),
        ("energy_unit", 3),
    ],
)
def test_units_that_are_right_or_not_ours(key: str, value: object) -> None:
    check_units(Atoms("H", info={key: value}))


@pytest.mark.parametrize(
    ("key", "value"),
    [("energy_unit", "Ha"), ("Forces_Unit", "Ha/Bohr"), ("stress_units", "GPa")],
)
def test_units_that_are_others(key: str, value: str) -> None:
    atoms = frame()
    atoms.info[key] = value
    with pytest.raises(DataError, match=f"{key} is '{value}'; it is to be eV"):
        force_field_labels(atoms)


def test_counts_are_said_and_what_is_left_out_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    frames = [frame() for _ in range(3)]
    del frames[1].calc.results["stress"]
    frames[2].info["REF_energy"] = -1.0
    write(tmp_path / "ff.extxyz", frames)
    with caplog.at_level(logging.INFO, "mftscreen.data.label_report"):
        assert len(list(read_force_field(tmp_path / "ff.extxyz"))) == 3
    counts, unused = caplog.records
    assert "3 frames; 3 have an energy, 3 forces, 2 a virial" in counts.getMessage()
    assert (counts.levelname, unused.levelname) == ("INFO", "WARNING")
    assert "look like labels: REF_energy (1);" in unused.getMessage()


@pytest.mark.parametrize(
    ("results", "words"),
    [
        ({"stress": STRESS / units.GPa}, "is the stress in GPa or kbar"),
        ({"forces": np.full((2, 3), 60.0)}, "are the forces in another unit"),
        ({}, ""),
    ],
)
def test_magnitudes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, results: dict, words: str
) -> None:
    write(tmp_path / "ff.extxyz", [frame(**results)] * 2)
    with caplog.at_level(logging.WARNING, "mftscreen.data.label_report"):
        list(read_force_field(tmp_path / "ff.extxyz"))
    assert words in caplog.text
    assert bool(caplog.records) == bool(words)


@pytest.mark.parametrize("key", ["stress", "virial", "virials", "Stress"])
@pytest.mark.parametrize("value", ["none", "a b c d e f", "T F F T F F", "--------"])
@pytest.mark.parametrize("pbc", ["T T T", "F F F"])
def test_tensors_that_are_no_numbers_are_refused(
    tmp_path: Path, key: str, value: str, pbc: str
) -> None:
    lattice = 'Lattice="4.2 0 0 0 4.2 0 0 0 4.2"'
    columns = "Properties=species:S:1:pos:R:3:forces:R:3"
    good = f'1\n{lattice} energy=-1 {columns} pbc="{pbc}"\nH 0 0 0 0 0 0\n'
    bad = good.replace("energy", f'{key}="{value}" energy')
    (tmp_path / "a.xyz").write_text(good + bad)
    with pytest.raises(DataError, match=f"a.xyz#1: the label {key.lower()} is not"):
        list(read_force_field(tmp_path / "a.xyz"))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("label", ["forces", "stress"])
def test_frames_with_numbers_that_are_none_are_named(
    tmp_path: Path, label: str, value: float
) -> None:
    frames = [frame() for _ in range(3)]
    frames[1].calc.results[label] = np.full_like(frames[1].calc.results[label], value)
    write(tmp_path / "ff.extxyz", frames)
    with pytest.raises(DataError, match=r"row ff.extxyz#1: the \w+ label is not fin"):
        list(read_force_field(tmp_path / "ff.extxyz"))


def test_a_stress_that_is_none_is_none(tmp_path: Path) -> None:
    atoms = frame()
    del atoms.calc.results["stress"]
    atoms.info["stress"] = None
    assert set(force_field_labels(atoms)) == {"energy", "force"}


def test_other_columns_of_numbers_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "POSCAR").write_text("H\n1\n4 0 0\n0 4 0\n0 0 4\nH\n1\nC\n0 0 0\n")
    rows = ["7,POSCAR,1.0,x,,True,2", "8,POSCAR,2.0,x,3.5,False,2"]
    table = tmp_path / "t.csv"
    table.write_text("\n".join(["id,path,gap,note,gap_hse,metal,bulk", *rows]))

    def said(*columns: str) -> list[str]:
        caplog.clear()
        with caplog.at_level(logging.INFO, "mftscreen.data.label_report"):
            assert len(list(read_labelled(table, *columns))) == 2
        return [record.getMessage() for record in caplog.records]

    read = f"{table}: read gap; other columns of numbers, not used: bulk, gap_hse"
    assert said("gap") == [read]
    assert said("gap", "gap_hse", "bulk") == []
