from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import yaml
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from mftscreen.data.dataset import LabelledStructure
from mftscreen.finetune.config.read import load_config
from mftscreen.finetune.task.bias import element_bias
from mftscreen.finetune.task.task import Task, load_task


def _load(folder: Path, **document: object) -> Task:
    path = folder / "task.yaml"
    base = {"strategy": "scratch", "name": "t", "training": {"steps": 1}}
    path.write_text(yaml.safe_dump(base | document))
    return load_task(load_config(path))


def _rows(path: Path, *rows: tuple[str, float]) -> None:
    structures = []
    for number, (formula, value) in enumerate(rows):
        positions = np.arange(3.0 * len(Atoms(formula))).reshape(-1, 3)
        atoms = Atoms(formula, positions, info={"name": f"row-{number}", "x": value})
        structures.append(atoms)
    write(path, structures)


def test_heads_that_are_taken_over_keep_their_biases(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _rows(tmp_path / "t.extxyz", ("Mg2O", 1.0), ("MgO2", 2.0), ("O2", 0.0))
    _rows(tmp_path / "v.extxyz", ("SiO", 1.0))
    frames = [bulk("MgO", "rocksalt", a=4.2) for _ in range(2)]
    for number, atoms in enumerate(frames):
        atoms.set_cell(atoms.cell * (1 + 0.01 * number), scale_atoms=True)
        results = {"energy": -1.0, "forces": np.zeros((2, 3)), "stress": np.zeros(6)}
        atoms.calc = SinglePointCalculator(atoms, **results)
    write(tmp_path / "f.extxyz", frames)
    with caplog.at_level(logging.WARNING):
        task = _load(
            tmp_path,
            strategy="mft",
            pretrained="mft-mini-crystals",
            transfer_properties=True,
            properties={
                "dielectric": {"label": "x", "column": "x", "bias": "per_element"}
            },
            data={"train": ["t.extxyz"], "test": {"new": "v.extxyz"}},
            auxiliary={"head": "crystals", "data": ["f.extxyz"]},
        )
    assert task.config.properties["dielectric"].bias == "per_element"
    assert "held-out rows may be among those" in caplog.text


@pytest.mark.parametrize("held_out", ["H2O", "NaCl"])
def test_bias_is_global_where_elements_are_unseen(
    tmp_path: Path, held_out: str, caplog: pytest.LogCaptureFixture
) -> None:
    _rows(tmp_path / "t.extxyz", ("H2O", 1.0), ("H2", 2.0), ("O2", 0.0))
    _rows(tmp_path / "v.extxyz", ("H2O", 1.0))
    _rows(tmp_path / "test.extxyz", (held_out, 1.0))
    with caplog.at_level(logging.WARNING):
        task = _load(
            tmp_path,
            properties={"x": {"label": "x"}},
            data={
                "train": ["t.extxyz"],
                "validation": ["v.extxyz"],
                "test": {"new": "test.extxyz"},
            },
        )
    bias = task.config.properties["x"].bias
    if held_out == "NaCl":
        assert bias == "global"
        assert "x: validation or test rows hold Na, Cl" in caplog.text
    else:
        assert bias == "per_element"
        assert "bias" not in caplog.text


def test_intensive_labels_weigh_all_atoms_alike() -> None:
    rows = [
        LabelledStructure(formula, Atoms(formula), {"x": np.asarray(value)})
        for formula, value in (("H2O", 1.0), ("H2", 0.0), ("O2", 2.0), ("OH", 1.5))
    ]
    counts = np.array([[2, 1], [2, 0], [0, 2], [1, 1]], float)
    totals = np.array([1.0, 0.0, 2.0, 1.5])
    for intensive in (False, True):
        bias = element_bias(rows, "x", ["O", "U", "H"], intensive=intensive)
        labels = totals * (counts.sum(axis=1) if intensive else 1.0)
        hydrogen, oxygen = np.linalg.lstsq(counts, labels)[0]
        assert bias == pytest.approx([oxygen, 0.0, hydrogen], abs=1e-12)
