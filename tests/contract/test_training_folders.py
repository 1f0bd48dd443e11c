"""Wherever a model is named, the folder of its training will do."""

from __future__ import annotations

import csv
import shlex
import shutil
from pathlib import Path

import pytest
from ase.build import bulk
from ase.db import connect
from ase.io import write
from click.testing import CliRunner

from mftscreen.cli import main
from mftscreen.model.files.bundle import read_bundle, write_bundle


@pytest.fixture(scope="module")
def folder(
    tiny_model: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Candidates, and two folders of trainings, one of them of a comparison."""
    folder = tmp_path_factory.mktemp("trainings")
    crystals = [bulk("MgO", "rocksalt", a=4.1 + 0.1 * k, cubic=True) for k in range(3)]
    with connect(folder / "pool.db") as database:
        for atoms in crystals:
            database.write(atoms)
    write(folder / "pool.extxyz", crystals)
    for place in ("one", "two/best"):
        (folder / place).mkdir(parents=True)
    shutil.copy(tiny_model, folder / "one" / "model.mft")
    bundle = read_bundle(tiny_model)
    card = bundle.card.model_copy(update={"name": "another"})
    path = folder / "two" / "best" / "model.mft"
    write_bundle(path, card, bundle.checkpoint, bundle.reference)
    (folder / "begun").mkdir()
    (folder / "tiny.pt").symlink_to(checkpoint)
    return folder


LINES = [
    "rank pool.db -p gap -m one",
    "rank pool.db -m two",
    "rank pool.db -p gap -m one -m two",
    "rank pool.db -p gap -m one --then two --keep 2",
    "rank pool.db -p gap -m one --relax fire --steps 1",
    "predict pool.db -m two",
    "predict pool.db -m one --energy",
    "ood score pool.db -m one",
    "ood explain pool.db --id 1 -m two",
    "models show one",
    "models export one --head oxides -o out.pt",
    "diagnose one --against tiny.pt --data a=pool.extxyz --n-samples 5 --n-repeats 1",
]


@pytest.mark.parametrize("line", LINES)
def test_the_folder_of_a_training_is_a_model(
    folder: Path, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    done = CliRunner().invoke(main, shlex.split(line))
    assert done.exit_code == 0, done.stderr


def test_folders_are_the_models_in_them(
    folder: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)

    def values(*models: str) -> list[str]:
        options = [word for model in models for word in ("-m", model)]
        done = CliRunner().invoke(main, ["rank", "pool.db", "-p", "gap", *options])
        return [row["gap"] for row in csv.DictReader(done.stdout.splitlines())]

    known = values(str(tiny_model))
    assert values("one") == values("two") == known
    assert values("one", "two") == known  # whose mean is the same


@pytest.mark.parametrize("option", ["-m", "--then"])
def test_a_training_that_has_not_ended_has_no_model(
    folder: Path, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    models = ["-m", "one"] if option == "--then" else []
    line = ["rank", "pool.db", "-p", "gap", *models, option, "begun"]
    done = CliRunner().invoke(main, line)
    assert done.exit_code == 1
    assert "begun: a folder without model.mft" in done.stderr
