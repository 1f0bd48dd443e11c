"""The summary of labelled data; their faults are in test_findings.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import write

from mftscreen.data.describe import describe_data


def write_rows(path: Path, structures: list[Atoms], labels: list[object]) -> Path:
    for k, (atoms, label) in enumerate(zip(structures, labels, strict=True)):
        atoms.info = {"id": f"r{k}", "gap": label}
    write(path, structures)
    return path


def test_labels_beyond_the_histogram_are_in_its_last_bins(tmp_path: Path) -> None:
    labels = [*np.linspace(1.0, 2.0, 38), -50.0, 100.0]
    crystals = [bulk("MgO", "rocksalt", a=4.0 + 0.02 * k) for k in range(40)]
    path = write_rows(tmp_path / "rows.extxyz", crystals, labels)
    summary = describe_data([path], "gap").labels
    assert summary is not None
    assert summary.n == sum(summary.counts) == 40
    assert (summary.quantiles[0.0], summary.quantiles[1.0]) == (-50.0, 100.0)
    assert summary.edges[0] == pytest.approx(summary.quantiles[0.01])
    assert summary.edges[-1] == pytest.approx(summary.quantiles[0.99])
    assert summary.mean == pytest.approx(np.mean(labels))
    assert summary.standard_deviation == pytest.approx(np.std(labels))


def test_test_data_are_searched_and_not_counted(tmp_path: Path) -> None:
    wire = bulk("Si", cubic=True)
    wire.pbc = (False, False, True)
    same = [bulk("Si", a=5.4), bulk("Si", a=5.4).repeat((1, 1, 2))]
    train = write_rows(
        tmp_path / "train.extxyz",
        [*same, molecule("H2O"), wire, Atoms("H2", pbc=False)],
        [1.0, 1.0, 2.0, 3.0, 4.0],
    )
    test = write_rows(tmp_path / "test.extxyz", [bulk("Ge")], [1.0])
    found = describe_data([train], "gap", against=test)
    assert found.files == {"train.extxyz": 5, "test.extxyz": 1}
    # two hydrogen atoms in one place are no structure
    assert (found.n_usable, found.n_distinct) == (4, 3)
    assert [problem.kind for problem in found.problems] == ["structure"]
    assert found.problems[0].rows == ("train.extxyz:r4",)
    assert list(found.elements.items()) == [("H", 1), ("O", 1), ("Si", 3)]
    assert found.periodic == {"3D": 2, "0D": 1, "1D": 1}
    assert found.n_atoms == {"min": 2.0, "median": 3.5, "max": 8.0}


def test_labels_beyond_all_scales_are_told_of(tmp_path: Path) -> None:
    crystals = [bulk("Si", a=5.0 + 0.1 * k) for k in range(5)]
    labels = [1.0, 2.0, 1e308, -1e308, 3.0]
    path = write_rows(tmp_path / "rows.extxyz", crystals, labels)
    found = describe_data([path], "gap")
    assert found.n_usable == 3
    (problem,) = found.problems
    assert problem.kind == "out of scale"
    assert len(problem.rows) == 2
