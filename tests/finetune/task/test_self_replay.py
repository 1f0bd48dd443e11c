from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import write

from mftscreen import load_model
from mftscreen.data.dataset import LabelledStructure
from mftscreen.errors import DataError, UnknownHeadError
from mftscreen.finetune.config.auxiliary import AuxiliaryConfig, SelfReplayConfig
from mftscreen.finetune.config.read import load_config
from mftscreen.finetune.run.run import run_training
from mftscreen.finetune.task import self_replay
from mftscreen.finetune.task.auxiliary import load_auxiliary
from mftscreen.finetune.task.self_replay import (
    Teacher,
    label_frames,
    perturb_structures,
)
from mftscreen.finetune.task.task import load_task
from mftscreen.model.files.reading import read_state
from mftscreen.model.network.backend import DeepmdNetwork
from mftscreen.structures import structure_hash

STRUCTURES = [bulk("MgO", "rocksalt", a=4.2), molecule("H2O"), bulk("Si", cubic=True)]


def unlabelled(*structures: Atoms) -> list[LabelledStructure]:
    return [LabelledStructure(str(k), atoms) for k, atoms in enumerate(structures)]


ROWS = unlabelled(*STRUCTURES)


@pytest.fixture(scope="module")
def teacher(checkpoint: Path) -> Teacher:
    return Teacher(read_state(checkpoint.read_bytes()), "0" * 64, "oxides")


def test_labels_are_the_pretrained_models_own(
    teacher: Teacher, checkpoint: Path
) -> None:
    frames = perturb_structures(
        unlabelled(*STRUCTURES), SelfReplayConfig(per_structure=3)
    )
    labelled = label_frames(frames, teacher)
    assert len(labelled) == 9
    network = DeepmdNetwork.from_checkpoint(checkpoint)
    for frame, item in zip(frames, labelled, strict=True):
        (alone,) = network.evaluate([frame.atoms], energy_head="oxides")
        np.testing.assert_allclose(item.labels["energy"], alone.energy, rtol=1e-9)
        np.testing.assert_allclose(item.labels["force"], alone.forces, atol=1e-9)
        assert ("virial" in item.labels) == bool(frame.atoms.pbc.any())
        if "virial" in item.labels:
            np.testing.assert_allclose(item.labels["virial"], alone.virial, atol=1e-9)
        (other,) = network.evaluate([frame.atoms], energy_head="alloys")
        assert abs(other.energy - item.labels["energy"]) > 1e-3


def test_rattle_and_strain_have_the_given_size() -> None:
    crystal = bulk("Si", cubic=True).repeat(2)
    rattled = perturb_structures(
        unlabelled(crystal), SelfReplayConfig(per_structure=50, rattle=0.2, strain=0.0)
    )
    moved = np.array([f.atoms.positions - crystal.positions for f in rattled])
    assert moved.std() == pytest.approx(0.2, rel=0.02)
    assert all((f.atoms.cell == crystal.cell).all() for f in rattled)
    strained = perturb_structures(
        unlabelled(crystal),
        SelfReplayConfig(per_structure=400, rattle=0.0, strain=0.04),
    )
    strains = np.array(
        [np.linalg.solve(crystal.cell, f.atoms.cell) - np.eye(3) for f in strained]
    )
    np.testing.assert_allclose(strains, strains.transpose(0, 2, 1), atol=1e-12)
    diagonal = strains[:, range(3), range(3)]
    assert diagonal.std() == pytest.approx(0.04, rel=0.06)
    np.testing.assert_allclose(
        strained[0].atoms.get_scaled_positions(wrap=False),
        crystal.get_scaled_positions(wrap=False),
        atol=1e-12,
    )


def test_molecules_keep_no_cell_and_sources_are_not_changed() -> None:
    before = [structure_hash(atoms) for atoms in STRUCTURES]
    frames = perturb_structures(
        unlabelled(*STRUCTURES, *STRUCTURES), SelfReplayConfig()
    )
    assert [structure_hash(atoms) for atoms in STRUCTURES] == before
    assert [f.atoms.info["parent"] for f in frames] == np.repeat(before, 2).tolist()
    water = frames[2].atoms
    assert not water.cell.any()
    assert not water.pbc.any()


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the cache of one test, in which nothing is yet."""
    monkeypatch.setenv("MFTSCREEN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_seed_makes_the_frames(teacher: Teacher) -> None:
    hashes = [
        [structure_hash(f.atoms) for f in perturb_structures(ROWS, settings)]
        for settings in (
            SelfReplayConfig(), SelfReplayConfig(seed=1), SelfReplayConfig(seed=2)
        )
    ]  # fmt: skip
    assert hashes[0] == hashes[1]
    assert not set(hashes[0]) & set(hashes[2])


def test_unsound_frames_are_dropped_and_counted(
    teacher: Teacher, caplog: pytest.LogCaptureFixture
) -> None:
    frames = unlabelled(
        bulk("Si"), Atoms("H2", [[0, 0, 0], [0, 0, 0.31]]), bulk("Cu"), Atoms("OO")
    )
    with caplog.at_level(logging.INFO):
        (left,) = label_frames(frames, teacher)
    assert str(left.atoms.symbols) == "Si2"
    assert "1 of 4 frames labelled by head 'oxides'" in caplog.text
    for reason in ("overlapping atoms", "unknown_element", "invalid_geometry"):
        assert f"1 dropped: {reason}" in caplog.text


def test_large_forces_are_dropped(
    teacher: Teacher, caplog: pytest.LogCaptureFixture
) -> None:
    rattled = perturb_structures(
        unlabelled(bulk("Si")), SelfReplayConfig(per_structure=1)
    )
    frames = [*rattled, *unlabelled(bulk("Si"))]
    force = np.abs(label_frames(frames, teacher)[0].labels["force"]).max()
    state = dict(teacher.state)
    # the last layer is linear: forces grow with it, those of the perfect crystal are 0
    for key, value in state.items():
        if "oxides.atomic_model.fitting_net" in key and key.endswith("2.matrix"):
            state[key] = value * float(1e3 / force)
    with caplog.at_level(logging.INFO):
        labelled = label_frames(frames, Teacher(state, "1" * 64, "oxides"))
    assert [np.abs(s.labels["force"]).max() < 1e-3 for s in labelled] == [True]
    assert "1 dropped: a force of more than 30 eV/Å" in caplog.text
    with pytest.raises(DataError, match="none of 1 frames can be used"):
        label_frames(rattled, Teacher(state, "1" * 64, "oxides"))


def test_head_that_does_not_exist(teacher: Teacher) -> None:
    with pytest.raises(UnknownHeadError, match="its energy heads are: alloys, oxides"):
        label_frames(unlabelled(bulk("Si")), Teacher(teacher.state, "", "gap"))


def test_pool_and_filters_come_before_labelling(
    teacher: Teacher, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "pool.extxyz", [bulk("GaAs", "zincblende", a=5.6), bulk("Cu")])
    config = AuxiliaryConfig(
        head="oxides",
        self_replay={"pool": [tmp_path / "pool.extxyz"], "per_structure": 1},
        elements=["Mg", "O", "Ga", "As"],
    )
    with caplog.at_level(logging.INFO):
        frames = load_auxiliary(config, ROWS, teacher, seed=0)
    assert [str(s.atoms.symbols) for s in frames] == ["MgO", "GaAs"]
    assert "2 of 2 frames labelled" in caplog.text


@pytest.fixture
def config_path(tmp_path: Path, checkpoint: Path) -> Path:
    rows = [bulk("MgO", "rocksalt", a=4.1 + 0.02 * k) for k in range(12)]
    for k, atoms in enumerate(rows):
        atoms.info = {"id": f"mgo-{k}", "softness": 1.0 + 0.1 * k}
    write(tmp_path / "rows.extxyz", rows)
    document = {
        "strategy": "mft",
        "name": "replayed",
        "pretrained": str(checkpoint),
        "properties": {"softness": {"label": "softness", "neurons": [8, 8]}},
        "data": {"train": ["rows.extxyz"]},
        "auxiliary": {
            "head": "oxides",
            "self_replay": {"per_structure": 3},
            "validation_fraction": 0.2,
            "batch_size": 8,
        },
        "training": {"steps": 6, "save_every": 6, "batch_size": 8},
    }
    path = tmp_path / "mft.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def test_frames_are_labelled_once_and_kept_exactly(
    config_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config(config_path)
    first = load_task(config)
    assert len(list((own_cache / "self_replay").iterdir())) == 1
    monkeypatch.setattr(self_replay, "DeepmdNetwork", None)  # cannot label again
    second = load_task(config)
    assert second.data.hash == first.data.hash
    split = second.heads["oxides"]
    parents = {
        part: {frame.atoms.info["parent"] for frame in split[part]}
        for part in ("train", "validation")
    }
    assert not parents["train"] & parents["validation"]
    downstream = {structure_hash(s.atoms) for s in second.heads["softness"]["train"]}
    assert parents["train"] | parents["validation"] == downstream
    assert len(split["train"]) == 3 * len(parents["train"])


def test_other_settings_are_labelled_anew(config_path: Path, own_cache: Path) -> None:
    load_task(load_config(config_path))
    text = config_path.read_text().replace("per_structure: 3", "per_structure: 2")
    config_path.write_text(text)
    load_task(load_config(config_path))
    assert len(list((own_cache / "self_replay").glob("*.traj"))) == 2


def test_labels_of_another_head_are_made_anew(
    teacher: Teacher, own_cache: Path
) -> None:
    frames = perturb_structures(ROWS, SelfReplayConfig(per_structure=1))
    before = label_frames(frames, teacher)
    # another head of one file, which the new model calls the same
    bias = "model.oxides.atomic_model.out_bias"
    state = {**teacher.state, bias: teacher.state[bias] + 1.0}
    after = label_frames(frames, Teacher(state, teacher.sha256, teacher.head))
    assert len(list((own_cache / "self_replay").glob("*.traj"))) == 2
    assert (after[0].labels["energy"] > before[0].labels["energy"] + 0.5).all()


def test_what_was_kept_and_is_damaged_is_labelled_anew(
    config_path: Path, own_cache: Path
) -> None:
    config = load_config(config_path)
    first = load_task(config)
    (kept,) = (own_cache / "self_replay").iterdir()
    content = kept.read_bytes()
    kept.write_bytes(content[: len(content) // 2])
    assert load_task(config).data.hash == first.data.hash
    assert kept.read_bytes() == content


def test_folder_that_cannot_be_written(
    teacher: Teacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("MFTSCREEN_CACHE", str(tmp_path / "file"))
    assert len(label_frames(unlabelled(bulk("Si")), teacher)) == 1
    assert (tmp_path / "file").read_text() == "no folder"


@pytest.mark.slow
def test_training_with_self_replay(config_path: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = run_training(load_config(config_path), tmp_path / "run", threads=1)
    model = load_model(path)
    card = model.card.force_field["oxides"]
    assert "self-replay (beyond the paper)" in card["training_set"]
    head = model.card.properties["softness"]
    assert head.n_train + head.metrics["validation"]["n"] == 12
    assert card["n_train"] + card["validation"]["n"] == 3 * head.n_train
    assert set(model.properties) == {"softness"}


def test_large_forces_are_left_out_when_they_are_known(teacher: Teacher) -> None:
    def frames(largest: float | None) -> dict[str, float]:
        replay = {"per_structure": 4, "rattle": 0.3}
        config = AuxiliaryConfig(head="oxides", self_replay=replay, max_force=largest)
        found = load_auxiliary(config, ROWS, teacher, seed=0)
        return {
            f.id: float(np.linalg.norm(f.labels["force"], axis=1).max()) for f in found
        }

    every = frames(None)
    middle = float(np.median(list(every.values())))
    small = {name for name, force in every.items() if force <= middle}
    assert frames(middle).keys() == small
    assert 0 < len(small) < len(every)
