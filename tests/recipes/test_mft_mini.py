"""The scripts that the shipped models are made with."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import click
import numpy as np
import pytest
import yaml
from ase import Atoms
from ase.build import bulk
from ase.io import read, write

from mftscreen import load_model
from mftscreen.model.files.bundle import read_bundle
from mftscreen.model.files.registry import resolve_model
from mftscreen.ood.splits import Split, SplitData, kde_tails
from mftscreen.structures import structure_hash

FOLDER = Path(__file__).parents[2] / "recipes" / "mft-mini"


def _script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"recipe_{name}", FOLDER / name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def prepare() -> ModuleType:
    return _script("prepare.py")


@pytest.fixture(scope="module")
def astray(prepare: ModuleType) -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "prepare", prepare)  # as when run in its folder
        yield _script("astray.py")


@pytest.fixture(scope="module")
def molecules(prepare: ModuleType) -> list[Atoms]:
    rng = np.random.default_rng(3)
    molecules = []
    for k in range(400):
        shape = [[0, 0, 0], [0.76, 0.59, 0], [-0.76, 0.59, 0]]
        atoms = Atoms("OH2", shape + rng.normal(scale=0.05, size=(3, 3)))
        atoms.info = {"id": f"m{k}", **{n: rng.normal() for n in prepare.QM9}}
        molecules.append(atoms)
    return molecules


def test_no_molecule_of_a_test_is_trained_on(
    prepare: ModuleType,
    molecules: list[Atoms],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "qm9.extxyz"
    write(path, molecules)
    found = SimpleNamespace(path=path)
    monkeypatch.setattr(prepare, "download_dataset", lambda *_, **__: found)
    for name, value in (("N_TRAIN", 60), ("N_TEST", 3), ("N_RAREST", 20)):
        monkeypatch.setattr(prepare, name, value)
    parents = molecules[::40]
    parts = prepare.qm9(tmp_path, parents)
    ids = {part: {a.info["id"] for a in rows} for part, rows in parts.items()}
    assert len(ids["train"]) == 60
    assert not ids["train"] & (ids["id"] | ids["ood"])
    assert not (ids["id"] | ids["ood"]) & {a.info["id"] for a in parents}
    names = [a.info["id"] for a in molecules]
    for name in prepare.QM9:
        labels = np.array([a.info[name] for a in molecules])
        data = SplitData(names, molecules, labels)
        (fold,) = kde_tails(data, ood_share=20 / 400).folds
        # nor any other of the rarest, such as one that the force field has seen
        assert not ids["train"] & {*fold.test, *fold.id_test}
        tested = {a.info["id"] for a in parts["ood"] if name in a.info}
        assert len(tested) == 3
        assert tested <= set(fold.test)


def test_strategies_are_compared_on_the_tests_of_one_property(
    prepare: ModuleType, molecules: list[Atoms], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "N_COMPARED", 110)
    parts = {
        "train": molecules[:200],
        "id": molecules[200:260],
        "ood": [a.copy() for a in molecules[260:300]],
    }
    for atoms in parts["ood"][:10]:  # tested for other properties only
        del atoms.info[prepare.GAP]
    rows, split = prepare.gap_split(parts)
    (fold,) = split.folds
    sizes = [len(part) for part in (fold.train, fold.val, fold.test, fold.id_test)]
    assert sizes == [100, 10, 30, 60]
    assert all(set(atoms.info) == {"id", prepare.GAP} for atoms in rows)
    assert "mu_D" in molecules[0].info
    assert Split.from_json(split.to_json()) == split


def test_the_largest_cluster_of_each_task_is_left_out(prepare: ModuleType) -> None:
    rng = np.random.default_rng(0)

    def crystals(task: str, kinds: list[str]) -> list[Atoms]:
        rows = []
        for kind in kinds:
            for k in range(20 if kind in ("Cu", "Si") else 8):
                lattice = bulk(kind).cell.cellpar()[0] * rng.uniform(0.97, 1.03)
                atoms = bulk(kind)
                atoms.set_cell(atoms.cell * lattice / atoms.cell.cellpar()[0])
                atoms.info["id"] = f"{task}-{kind}-{k}"
                rows.append(atoms)
        return rows

    metals, semiconductors = ["Cu", "Al", "Na", "Fe"], ["Si", "Ge", "C", "Li"]
    tasks = {"a": crystals("a", metals), "b": crystals("b", semiconductors)}
    split = prepare.leave_clusters_out(tasks, n_clusters=6)
    (fold,) = split.folds
    tested = {row.split("-")[0] for row in fold.test}
    assert tested == {"a", "b"}
    everything = {a.info["id"] for rows in tasks.values() for a in rows}
    assert {*fold.train, *fold.val, *fold.test} == everything
    assert len(fold.name.split("-")) == 2


def test_cards_get_what_was_measured_beside_the_runs(tmp_path: Path) -> None:
    assemble = _script("assemble.py")
    bundle = read_bundle(resolve_model("mft-mini-crystals")[0])
    document = json.loads(bundle.card.model_dump_json())
    for head in document["properties"].values():
        head["metrics"] = {"ood": {"n": 30.0, "mae": 0.5}}
    document["provenance"]["config"]["data"]["split"] = {"fold": "3-13"}
    without = type(bundle.card).model_validate(document)
    assemble.add_clusters(bundle.card, without)
    for head in bundle.card.properties.values():
        added = head.metrics["clusters 3, 13, by the model of crystals_clusters.yaml"]
        assert added == {"n": 30.0, "mae": 0.5}


def test_what_tests_relax_is_not_led_astray(astray: ModuleType, tmp_path: Path) -> None:
    crystals = [
        bulk("MgO", "rocksalt", a=4.2),
        bulk("MgO", "rocksalt", a=4.3).repeat(2),
    ]
    crystals += [bulk("Cu"), bulk("Si"), bulk("Ge").repeat(3), bulk("Po", "sc", a=3.3)]
    path = tmp_path / "pool.extxyz"
    write(path, crystals)
    model = load_model("mft-mini-crystals")
    forbidden = {astray.composition(crystals[0])}
    drawn = astray.draw(path, model, forbidden, 10, max_atoms=24, seed=0)
    # not MgO of any size, not 54 atoms, not an element that the model does not know
    assert sorted(atoms.get_chemical_formula() for atoms in drawn) == ["Cu", "Si2"]
    assert len(astray.draw(path, model, forbidden, 1, max_atoms=24, seed=0)) == 1


def test_frames_lie_on_the_line_from_a_start_to_its_relaxed_structure(
    astray: ModuleType,
) -> None:
    crystal = bulk("Si", a=5.2)
    ((gain, start, end),) = astray.relax([crystal], load_model("mft-mini-crystals"), 60)
    assert start is crystal
    assert gain > 0.05
    assert end.get_volume() > 1.05 * start.get_volume()
    frames = astray.frames_between(start, end)
    volumes = [frame.get_volume() for frame in frames]
    assert volumes == sorted(volumes)
    before = astray.PLACES.index(0.0)
    assert before == 1
    np.testing.assert_allclose(frames[before].positions, start.positions)
    np.testing.assert_allclose(frames[-1].cell, end.cell)
    np.testing.assert_allclose(frames[-1].positions, end.positions)
    assert {frame.info["parent"] for frame in frames} == {structure_hash(start)}
    assert start.info == {}


def test_lengths_of_a_search_are_told_apart(tmp_path: Path) -> None:
    search = _script("search.py")
    for name in ("shipped_500", "4_layers_500", "shipped_1500", "6_layers_500"):
        (tmp_path / name).mkdir()
        if name != "6_layers_500":  # not done yet
            (tmp_path / name / "model.mft").touch()
    runs = list(search.find_runs(tmp_path))
    assert runs == [("shipped", 500), ("4 layers", 500), ("shipped", 1500)]


def test_seeds_of_a_search_need_a_folder_each(tmp_path: Path) -> None:
    search = _script("search.py")
    run = tmp_path / "shipped_500"
    run.mkdir()
    # its training had seed 7
    shutil.copy(resolve_model("mft-mini-crystals")[0], run / "model.mft")
    search.train("shipped", 500, 7, tmp_path, 1)
    with pytest.raises(click.ClickException, match="has seed 7; choose another"):
        search.train("shipped", 500, 8, tmp_path, 1)


def test_a_search_trains_on_every_third_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = _script("search.py")
    frames = [bulk("Cu", a=3.5 + k / 100) for k in range(12)]
    for k, atoms in enumerate(frames):
        atoms.info["parent"] = f"p{k // 2}"
    write(tmp_path / "all.extxyz", frames)
    branches = {
        "grouped": {"data": ["all.extxyz"], "group": "parent"},
        "single": {"data": ["single.extxyz"], "test": {"t": "test.extxyz"}},
    }
    for name in ("single", "test"):
        write(tmp_path / f"{name}.extxyz", frames)
    (tmp_path / "base.yaml").write_text(yaml.safe_dump({"branches": branches}))
    monkeypatch.setattr(search, "BASE", tmp_path / "base.yaml")
    (tmp_path / "to").mkdir()
    thinned = search.thin(tmp_path / "to")
    paths = {name: branch["data"] for name, branch in thinned.items()}
    paths["test"] = [thinned["single"]["test"]["t"]]
    kept = {name: read(path, ":") for name, (path,) in paths.items()}
    assert [a.info["parent"] for a in kept["grouped"]] == ["p0", "p0", "p3", "p3"]
    for name in ("single", "test"):
        assert [a.info["parent"] for a in kept[name]] == ["p0", "p1", "p3", "p4"]
