from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from ase import Atoms
from ase.build import bulk
from ase.io import write

from mftscreen.errors import DataError
from mftscreen.study import collapse
from mftscreen.study.collapse import write_collapse
from mftscreen.study.plan import Conditions
from mftscreen.study.run import Study

FOLDS = {"small": ["ft"], "large": ["scratch", "lp", "ft", "mft"], "other": ["ft"]}


@pytest.fixture(autouse=True)
def _few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collapse, "N_SAMPLES", 15)
    monkeypatch.setattr(collapse, "N_REPEATS", 1)


@pytest.fixture
def study(tmp_path: Path, checkpoint: Path, tiny_model: Path) -> Study:
    """Return a study as its jobs leave it."""
    for part, n in {"train": 8, "validation": 8, "ood": 6}.items():
        write(tmp_path / f"{part}.extxyz", _crystals(n, seed=n))
    auxiliary = {"head": "oxides", "data": [str(tmp_path / "train.extxyz")]}
    own: dict[str, dict[str, Any]] = {
        "scratch": {"descriptor": {"n_layers": 2, "n_dim": 8, "e_dim": 6, "a_dim": 4}},
        "lp": {"pretrained": str(checkpoint)},
        "ft": {"pretrained": str(checkpoint)},
        "mft": {"pretrained": str(checkpoint), "auxiliary": auxiliary},
    }
    folders = {}
    for fold, strategies in FOLDS.items():
        for strategy in strategies:
            conditions = Conditions("gap", "loco", fold, strategy)
            folders[conditions] = folder = tmp_path / conditions.slug
            folder.mkdir()
            document = {
                "name": "gap",
                "strategy": strategy,
                "properties": {"gap": {"label": "band gap", "unit": "eV"}},
                "data": {
                    "train": [str(tmp_path / "train.extxyz")],
                    "validation": [str(tmp_path / "validation.extxyz")],
                    "test": {
                        "ood": str(tmp_path / "ood.extxyz"),
                        "mine": str(tmp_path / "ood.extxyz"),
                    },
                },
                "training": {"steps": 10, "save_every": 5},
            }
            text = yaml.safe_dump(document | own[strategy])
            (folder / "config.yaml").write_text(text)
            shutil.copy(tiny_model, folder / "model.mft")
    return Study("tiny", None, (), (), {}, folders)


def _crystals(n: int, seed: int) -> list[Atoms]:
    frames = []
    for k in range(n):
        atoms = bulk("MgO", "rocksalt", a=4.0 + 0.01 * k, cubic=True)
        atoms.rattle(0.05, seed=100 * seed + k)
        atoms.info["gap"] = float(k)
        frames.append(atoms)
    return frames


@pytest.mark.slow
def test_the_fold_with_most_strategies_is_compared(
    study: Study, tmp_path: Path
) -> None:
    pages = list(write_collapse(study, tmp_path / "new", "mftscreen study show"))
    assert [page.name for page in pages] == ["collapse-gap.loco.large.seed1.html"]
    assert "mftscreen study show" in pages[0].read_text()
    found = json.loads(pages[0].with_suffix(".json").read_text())
    # of what fine-tuning changes: not of frozen or random descriptors
    assert list(found["fine_tuned"]) == ["ft", "mft"]
    parts = found["data_sets"]
    assert list(parts) == ["train", "validation", "ood", "mine"]
    assert [part["models"]["ft"]["atoms"] is None for part in parts.values()] == [
        True, True, False, True,
    ]  # fmt: skip


@pytest.mark.slow
def test_the_test_of_random_rows_is_in_distribution(
    study: Study, tmp_path: Path
) -> None:
    folders = {
        replace(conditions, in_distribution=True): folder
        for conditions, folder in study.only({"fold": {"other"}}).folders.items()
    }
    (page,) = write_collapse(replace(study, folders=folders), tmp_path, "study show")
    found = json.loads(page.with_suffix(".json").read_text())
    assert list(found["data_sets"]) == ["train", "validation", "mine", "id"]


@pytest.mark.slow
def test_the_test_of_random_rows_may_be_too_small(study: Study, tmp_path: Path) -> None:
    write(tmp_path / "ood.extxyz", _crystals(1, seed=1))
    ((conditions, folder),) = study.only({"fold": {"other"}}).folders.items()
    folders = {replace(conditions, in_distribution=True): folder}
    (page,) = write_collapse(replace(study, folders=folders), tmp_path, "study show")
    found = json.loads(page.with_suffix(".json").read_text())
    assert list(found["data_sets"]) == ["train", "validation"]


def test_a_report_that_cannot_be_written_takes_no_time(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collapse, "diagnose", None)
    (tmp_path / "collapse-gap.loco.large.seed1.html").mkdir()
    with pytest.raises(DataError, match="is a folder"):
        next(write_collapse(study, tmp_path, "study show"))


def test_a_study_without_fine_tuning_has_no_report(
    study: Study, tmp_path: Path
) -> None:
    frozen = study.only({"strategy": {"lp", "scratch"}})
    with pytest.raises(DataError, match="no job that has finished fine-tunes"):
        next(write_collapse(frozen, tmp_path / "new", "study show"))
    assert not (tmp_path / "new").exists()
