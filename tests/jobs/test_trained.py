from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from ase import Atoms
from ase.build import bulk
from ase.io import write
from click.testing import CliRunner

from mftscreen import diagnose
from mftscreen.cli import main
from mftscreen.errors import ConfigError, DataError, ModelFileError
from mftscreen.jobs.split import split
from mftscreen.jobs.trained import common_parts, common_pretrained, name_models


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "rows.extxyz"
    frames: list[Atoms] = []
    for k in range(30):
        atoms = bulk("MgO", "rocksalt", a=4.0 + 0.01 * k, cubic=True)
        atoms.rattle(0.05, seed=k)
        atoms.info["gap"] = float(k)
        frames.append(atoms)
    write(path, frames)
    return path


@pytest.fixture
def training(
    tmp_path: Path, rows: Path, checkpoint: Path, tiny_model: Path
) -> Callable[..., Path]:
    """Return what makes a folder as a training leaves it."""

    def training(name: str, strategy: str = "ft", **changes: object) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        document = {
            "name": name,
            "strategy": strategy,
            "pretrained": str(checkpoint),
            "properties": {"gap": {"label": "band gap", "unit": "eV"}},
            "data": {"train": [str(rows)], "validation_fraction": 0.4},
            "training": {"steps": 10, "save_every": 5},
        } | changes
        document = {key: value for key, value in document.items() if value is not None}
        (folder / "config.yaml").write_text(yaml.safe_dump(document))
        shutil.copy(tiny_model, folder / "model.mft")
        return folder

    return training


def test_models_are_called_by_their_folders_and_files(training: Callable) -> None:
    run = training("mine")
    found = name_models([run, run.parent / "mine" / ".." / "other.mft", "mft-mini"])
    assert [each.name for each in found] == ["mine", "other", "mft-mini"]
    assert [each.name for each in name_models(run / "model.mft")] == ["mine"]
    assert [each.name for each in name_models({"FT": run})] == ["FT"]
    assert found[0].model == run / "model.mft"


def test_a_name_is_no_folder_that_is_called_so(
    training: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "mft-mini-crystals"
    monkeypatch.chdir(training(name).parent)
    (shipped,) = name_models(name)
    assert (shipped.folder, shipped.config, shipped.model) == (None, None, name)
    (own,) = name_models(Path(name))
    assert own.model == Path(name, "model.mft")
    assert own.config is not None


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ([], "none is given"),
        (["a/ft.mft", "b/ft.mft"], "'ft' names several; give them names"),
        ({"pretrained": "a.mft"}, "the one that they are compared with"),
        (3, "a name, file or folder is needed, not int"),
        (["a/ft.mft", object()], "a name, file or folder is needed, not object"),
        ({"mine": None}, "a name, file or folder is needed, not NoneType"),
    ],
)
def test_names_must_tell_models_apart(models: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        name_models(models)


def test_folders_know_their_model_and_data(
    training: Callable, checkpoint: Path, tmp_path: Path
) -> None:
    runs = [training("ft"), training("lp", "lp")]
    found = diagnose(runs, n_samples=15, n_atoms=60, json=tmp_path / "all.json")
    assert found.diagnosis.pretrained.source == str(checkpoint)
    assert list(found.diagnosis.fine_tuned) == ["ft", "lp"]
    table = found.to_pandas()
    assert table["data_set"].tolist() == ["train", "train", "validation", "validation"]
    assert table["n_structures"].sum() == 2 * 30
    assert table["w1"].tolist() == pytest.approx([0.0] * 4, abs=1e-9)
    assert table["db_atoms_plane"].tolist() == pytest.approx([1.0] * 4)
    assert repr(found).startswith("<ft, lp against")


def test_what_folders_do_not_agree_on_must_be_named(
    training: Callable, tiny_model: Path, rows: Path
) -> None:
    first, other = training("a"), training("b", pretrained=str(tiny_model))
    with pytest.raises(ConfigError, match=r"made of different ones .a from .*, b from"):
        common_pretrained(name_models([first, other]))
    fewer = training("c", data={"train": [str(rows)], "validation_fraction": 0.1})
    with pytest.raises(ConfigError, match="data: 'c' and 'a' have different ones"):
        common_parts(name_models([first, fewer]))
    with pytest.raises(ConfigError, match="known only for folders"):
        common_pretrained(name_models(tiny_model))


def test_a_pretraining_has_no_data_of_properties(training: Callable) -> None:
    pretrain = training(
        "pre", "pretrain", pretrained=None, properties=None, data=None,
        branches={"a": {"data": ["frames.extxyz"]}}, energy_head="a",
    )  # fmt: skip
    with pytest.raises(
        ConfigError, match=r"known only for folders of .* on properties"
    ):
        common_parts(name_models(pretrain))
    both = name_models([pretrain, training("ft")])
    assert list(common_parts(both)) == ["train", "validation"]


def test_a_training_from_scratch_is_compared_with_what_others_started_from(
    training: Callable, checkpoint: Path
) -> None:
    descriptor = {"n_layers": 2, "n_dim": 8, "e_dim": 6, "a_dim": 4}
    scratch = training("s", "scratch", pretrained=None, descriptor=descriptor)
    with pytest.raises(ConfigError, match="started from a pretrained model; name one"):
        common_pretrained(name_models(scratch))
    both = name_models([scratch, training("ft")])
    assert common_pretrained(both) == str(checkpoint)


def test_a_kernel_has_no_validation_set(training: Callable) -> None:
    run = training("k", "kernel", training=None)
    assert list(common_parts(name_models(run))) == ["train"]


def test_parts_that_were_divided_in_other_ways_are_not_compared(
    training: Callable, rows: Path
) -> None:
    tested = {"train": [str(rows)], "test": {"mine": str(rows)}}
    seeds = [
        training(f"s{seed}", data=tested, training={"steps": 10, "seed": seed})
        for seed in (1, 2)
    ]
    kernel = training("kt", "kernel", training=None, data=tested)
    for runs in (seeds, [seeds[0], kernel], [kernel, *seeds]):
        assert list(common_parts(name_models(runs))) == ["mine"]
    assert list(common_parts(name_models(seeds[0]))) == [
        "train", "validation", "mine",
    ]  # fmt: skip
    own = [training("a1"), training("k1", "kernel", training=None)]
    with pytest.raises(ConfigError, match="a1, k1 were divided in different ways"):
        common_parts(name_models(own))


def test_a_folder_without_a_model_says_why(
    training: Callable, checkpoint: Path, tmp_path: Path
) -> None:
    run = training("running")
    (run / "model.mft").unlink()
    missing = r"a folder without model\.mft, which a training writes as it ends"
    with pytest.raises(ModelFileError, match=missing):
        diagnose(run)
    with pytest.raises(ModelFileError, match=missing):
        diagnose(tmp_path, checkpoint, {"a": []})


def test_rows_are_divided_by_a_fold(
    tiny_model: Path, checkpoint: Path, rows: Path, tmp_path: Path
) -> None:
    path = tmp_path / "split.json"
    fold = split(rows, "gap", method="random", folds=3, output=path).split.folds[1]
    command = [
        "diagnose", f"mine={tiny_model}", "--against", str(checkpoint), "--data",
        str(rows), "--split", str(path), "--fold", fold.name, "--n-samples", "10",
        "--n-repeats", "1", "--n-atoms", "50", "-q",
    ]  # fmt: skip
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    starts = [line.split()[:2] for line in result.stdout.splitlines()[1:5]]
    assert starts[0] == ["train", "mine"]
    assert starts[2] == ["ood", "mine"]
    assert "id " not in result.stdout
    found = diagnose(
        {"mine": tiny_model}, checkpoint, rows, split=path, fold=fold.name,
        n_samples=10, n_repeats=1, n_atoms=50,
    )  # fmt: skip
    sizes = {each.name: each.n_structures for each in found.diagnosis.data_sets}
    assert sizes["ood"] == len(fold.test)
    with pytest.raises(DataError, match="no fold 'nine'"):
        diagnose(tiny_model, checkpoint, rows, split=path, fold="nine")
