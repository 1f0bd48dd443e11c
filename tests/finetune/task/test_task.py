"""What is read for a training, and what is refused."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from ase.io import write

from mftscreen import structures
from mftscreen.data import dataset
from mftscreen.errors import ConfigError, DataError
from mftscreen.finetune.config.read import load_config
from mftscreen.finetune.run import run
from mftscreen.finetune.task import training_data
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


def test_log10_of_labels_that_are_not_positive_names_the_rows(tmp_path: Path) -> None:
    _rows(tmp_path / "t.extxyz", ("H2O", 1.0), ("H2", -2.0), ("O2", 0.0), ("O3", 3.0))
    _rows(tmp_path / "v.extxyz", ("H2O", 1.0))
    properties = {"x": {"label": "x", "transform": "log10"}}
    with pytest.raises(DataError, match=r"2 labels of 'x'.*row-1, row-2"):
        _load(
            tmp_path,
            properties=properties,
            data={"train": ["t.extxyz"], "validation": ["v.extxyz"]},
        )


def test_periodic_rows_of_a_property_of_molecules_are_named(tmp_path: Path) -> None:
    rows = [Atoms("H2", [[0, 0, 0], [0, 0, 1]], info={"x": 1.0}) for _ in range(4)]
    rows[2].set_cell([5, 5, 5])
    rows[2].pbc = True
    for number, atoms in enumerate(rows):
        atoms.info["name"] = f"row-{number}"
    write(tmp_path / "t.extxyz", rows)
    with pytest.raises(
        DataError, match=r"row-2: x \(head r2\) is a property of molecules"
    ):
        _load(
            tmp_path,
            properties={"x": {"label": "x", "head": "r2"}},
            data={"train": ["t.extxyz"]},
        )


def _held_out(folder: Path, n_rows: int, seed: int) -> dict[str, set[str]]:
    rows = [("H2O", float(number)) for number in range(n_rows)]
    _rows(folder / "t.extxyz", *rows)
    task = _load(
        folder,
        properties={"x": {"label": "x"}},
        data={"train": ["t.extxyz"], "validation_fraction": 0.1},
        training={"steps": 1, "seed": seed},
    )
    return {part: {s.id for s in rows} for part, rows in task.heads["x"].items()}


def test_rows_that_are_held_out_remain_so_when_rows_are_added(tmp_path: Path) -> None:
    before, after = (_held_out(tmp_path, n, 1) for n in (400, 800))
    assert before["validation"] < after["validation"]
    assert before["train"] < after["train"]
    # four standard deviations of a binomial distribution
    assert abs(len(after["validation"]) - 80) < 4 * np.sqrt(800 * 0.1 * 0.9)
    assert _held_out(tmp_path, 400, 2)["validation"] != before["validation"]


@pytest.mark.parametrize("seed", range(5))
def test_both_sides_have_rows(tmp_path: Path, seed: int) -> None:
    assert all(_held_out(tmp_path, 2, seed).values())


def _named(path: Path, names: list[str]) -> None:
    structures = [
        Atoms("H2O", np.arange(9.0).reshape(3, 3) * (1 + k / 100)) for k in range(40)
    ]
    for k, (atoms, name) in enumerate(zip(structures, names, strict=True)):
        atoms.info |= {"id": name, "x": k / 10}
    write(path, structures)


def _trajectories(path: Path, lacking: int = 0) -> None:
    frames = []
    for k in range(40):
        atoms = bulk("MgO", "rocksalt", a=4.0 + 0.01 * k)
        results = {"energy": -k, "forces": np.zeros((2, 3)), "stress": np.zeros(6)}
        atoms.calc = SinglePointCalculator(atoms, **results)
        if k >= lacking:
            atoms.info["run"] = f"run-{k // 4}"
        frames.append(atoms)
    if path.suffix == ".db":
        with connect(path) as database:
            for atoms in frames:
                database.write(atoms, **atoms.info)
    else:
        write(path, frames)


def _pretraining(path: Path, group: str) -> dict[str, object]:
    branch = {"data": [str(path)], "group": group, "validation_fraction": 0.3}
    branches = {"dft": branch}
    return {"strategy": "pretrain", "energy_head": "dft", "branches": branches}


@pytest.mark.parametrize("name", ["ff.extxyz", "ff.db"])
def test_frames_of_one_group_stay_together(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    _trajectories(tmp_path / name)
    parts = _load(tmp_path, **_pretraining(tmp_path / name, "run")).heads["dft"]
    groups = {part: {frame.group for frame in parts[part]} for part in parts}
    assert sum(len(frames) for frames in parts.values()) == 40
    assert len(groups["train"] | groups["validation"]) == 10
    assert not groups["train"] & groups["validation"]
    with pytest.raises(DataError, match="group: no frame has 'rnu'"):
        _load(tmp_path, **_pretraining(tmp_path / name, "rnu"))
    (tmp_path / name).unlink()
    _trajectories(tmp_path / name, lacking=2)
    with caplog.at_level(logging.WARNING):
        _load(tmp_path, **_pretraining(tmp_path / name, "run"))
    assert "group: 2 of 40 frames have no 'run'" in caplog.text


def test_structures_of_one_id_stay_together_and_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    document = {
        "properties": {"x": {"label": "x"}},
        "data": {"train": ["t.extxyz"], "validation_fraction": 0.3},
    }
    _named(tmp_path / "t.extxyz", [f"m{k // 4}" for k in range(40)])
    with caplog.at_level(logging.WARNING):
        task = _load(tmp_path, **document)
    assert (
        "10 ids stand for several different structures each: m0 (4), m1" in caplog.text
    )
    found = {p: {row.id for row in rows} for p, rows in task.heads["x"].items()}
    assert not found["train"] & found["validation"]
    assert sum(len(rows) for rows in task.heads["x"].values()) == 40
    caplog.clear()
    _named(tmp_path / "t.extxyz", ["same"] * 40)
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(DataError, match="all of 40 rows have the id or group 'same'"),
    ):
        _load(tmp_path, **document)
    assert "1 ids stand for several different structures each: same (40)" in caplog.text
    caplog.clear()
    _named(tmp_path / "t.extxyz", [f"m{k}" for k in range(40)])
    with caplog.at_level(logging.WARNING):
        _load(tmp_path, **document)
    assert "ids stand for" not in caplog.text


def test_labels_are_checked_as_a_training_starts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [("H2", 1.0), ("O2", 2.0), ("N2", 3.0), ("H2", 9.0), ("HF", 1.5)]
    _rows(tmp_path / "t.extxyz", *rows)
    document = {
        "properties": {"x": {"label": "x"}},
        "data": {"train": ["t.extxyz"], "validation": ["t.extxyz"]},
    }
    with caplog.at_level(logging.WARNING):
        _load(tmp_path, **document)
    assert "row-0, row-3, row-0, row-3: one structure with labels 1, 9" in caplog.text
    _rows(tmp_path / "t.extxyz", *rows, ("OF", 1e30))
    with pytest.raises(DataError, match=r"row-5: the label 'x' is 1e\+30, beyond"):
        _load(tmp_path, **document)


PROPERTIES = ("x", "y", "z")


def _several(folder: Path) -> dict[str, object]:
    """Write rows with up to three labels, the last of which most lack."""
    for name, n_rows in (("train", 24), ("test", 6)):
        rows = []
        for k in range(n_rows):
            atoms = bulk("MgO", "rocksalt", a=4.2 + 0.01 * k + 0.001 * (name == "test"))
            atoms.info = {"id": f"{name}-{k}", "x": 1.0 + k, "y": 2.0 - k}
            if not k % 4:
                atoms.info["z"] = 0.5 * k
            rows.append(atoms)
        write(folder / f"{name}.extxyz", rows)
    return {
        "descriptor": {"edge_cutoff": 3.0, "angle_cutoff": 2.5},
        "properties": {
            "x": {"label": "x", "transform": "log10"},
            "y": {"label": "y", "transform": "standardise"},
            "z": {"label": "z"},
        },
        "data": {
            "train": ["train.extxyz"],
            "test": {"held out": "test.extxyz"},
            "validation_fraction": 0.3,
        },
    }


def test_targets_are_the_labels_after_their_transforms(tmp_path: Path) -> None:
    task = _load(tmp_path, **_several(tmp_path))
    assert task.data.shared == [["x", "y"], ["z"]]
    rows, targets = task.heads["x"]["train"], task.targets(["x", "y"], "train")
    assert [row.id for row in targets] == [row.id for row in rows]
    assert all(row.labels.keys() == {"x", "y"} for row in targets)
    x, y = (np.ravel([row.labels[n] for row in targets]) for n in ("x", "y"))
    np.testing.assert_allclose(x, np.log10([row.labels["x"] for row in rows]))
    np.testing.assert_allclose([y.mean(), y.std()], [0, 1], atol=1e-12)
    # the rows are what they were
    assert rows[0].labels["y"] == 2.0 - int(rows[0].id.removeprefix("train-"))


def test_each_structure_is_checked_hashed_and_searched_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: dict[str, Counter[str]] = {}

    def count(name: str, *modules: object) -> None:
        original: Callable[..., object] = getattr(structures, name)
        counts[name] = Counter()

        def counted(atoms: Atoms, *arguments: object) -> object:
            counts[name][atoms.info["id"]] += 1
            return original(atoms, *arguments)

        for module in modules:
            monkeypatch.setattr(module, name, counted)

    count("check_sites", structures, training_data)
    count("find_neighbors", structures)
    count("structure_hash", dataset)
    monkeypatch.setattr(run, "train", _nothing)
    _load(tmp_path, **_several(tmp_path))  # writes the configuration
    for calls in counts.values():
        calls.clear()
    with pytest.raises(_TrainingWouldBeginError):
        run.run_training(load_config(tmp_path / "task.yaml"), tmp_path / "run")
    rows = [f"train-{k}" for k in range(24)] + [f"test-{k}" for k in range(6)]
    for name, calls in counts.items():
        assert calls == Counter(rows), name


class _TrainingWouldBeginError(Exception):
    pass


@pytest.mark.parametrize("name", ["./tiny.pt", "copy.pt"])
def test_a_model_stands_beside_itself_under_no_name(
    checkpoint: Path, tmp_path: Path, name: str
) -> None:
    for copied in ("tiny.pt", "copy.pt"):
        (tmp_path / copied).write_bytes(checkpoint.read_bytes())
    row = bulk("MgO", "rocksalt", a=4.2)
    row.info["softness"] = 1.0
    write(tmp_path / "rows.extxyz", row)
    document = {
        "strategy": "kernel", "name": "twice", "pretrained": ["tiny.pt", name],
        "energy_head": "oxides", "properties": {"softness": {}},
        "data": {"train": ["rows.extxyz"]},
    }  # fmt: skip
    path = tmp_path / "task.yaml"
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(ConfigError, match="pretrained: a model stands in it twice"):
        load_task(load_config(path))


def _nothing(*arguments: object, **options: object) -> None:
    raise _TrainingWouldBeginError
