from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from ase.io import read, write
from click.testing import CliRunner

from mftscreen.cli import main
from mftscreen.errors import ConfigError
from mftscreen.finetune.compare.folds import without_split
from mftscreen.finetune.compare.trainings import compare_strategies
from mftscreen.finetune.config.read import load_config
from mftscreen.finetune.task.task import load_task
from mftscreen.model.files.bundle import read_bundle
from mftscreen.ood.splits import Split


def run(*arguments: str | Path) -> tuple[int, str, str]:
    done = CliRunner().invoke(main, ["finetune", *map(str, arguments)])
    return done.exit_code, done.stdout, done.stderr


@pytest.mark.slow
def test_strategies_are_trained_on_the_same_folds_once(
    folder: Path, write_config: Callable[..., Path], pretrained: Path
) -> None:
    path = write_config(
        "compared",
        "mft",
        pretrained=str(pretrained),
        data={"train": ["crystals.extxyz"]},
        auxiliary={
            "head": "first",
            "data": ["crystals.extxyz"],
            "batch_size": 16,
            "drop_test_formulas": True,
        },
    )
    output = folder / "compare"
    options = ["--compare", "ft,mft", "--split", "chemsys", "--folds", "2"]
    options += ["-o", str(output), "--threads", "1", "-q"]
    code, table, errors = run(path, *options)
    assert code == 0, errors
    assert "softness: MAE mean ± standard deviation of 2 folds" in table
    document = json.loads((output / "compare.json").read_text())
    assert document["folds"] == ["Mg-O", "O-Si"]
    split = Split.read(output / "split.json")
    for result in document["results"]:
        model = output / result["model"]
        assert model == output / result["strategy"] / result["fold"] / "model.mft"
        card = read_bundle(model).card
        assert card.strategy == result["strategy"]
        assert result["metrics"] == card.properties["softness"].metrics
        assert list(result["metrics"]) == ["validation", "id", "ood"]
        tested = next(f.test for f in split.folds if f.name == result["fold"])
        assert result["metrics"]["ood"]["n"] == len(tested)
        assert result["drift"]["w1_ood"] > 0
        assert result["drift"]["db_descriptor"] > 0
        assert model.with_name("collapse.html").exists()
    first = {file: file.stat().st_mtime_ns for file in output.rglob("model.mft")}
    assert len(first) == 4
    config = load_config(path)
    chosen = {"split": output / "split.json", "folds": ["Mg-O", "O-Si"]}
    again = compare_strategies(config, output, strategies=("ft", "mft"), **chosen)
    assert again.best == document["best"]
    assert first == {file: file.stat().st_mtime_ns for file in first}
    # a report that is missing is made up for, and nothing is trained for it
    kept = output / "ft" / "Mg-O" / "result.json"
    text = kept.read_text()
    without = json.loads(text)
    without["results"][0]["drift"] = {}
    kept.write_text(json.dumps(without))
    kept.with_name("collapse.json").unlink()
    log = kept.with_name("train.log").read_text()
    for checkpoint in kept.parent.glob("model.ckpt*"):
        checkpoint.unlink()
    off = compare_strategies(
        config, output, strategies=("ft", "mft"), collapse_report=False, **chosen
    )
    assert off.results[0].drift == {}
    made_up = compare_strategies(config, output, strategies=("ft", "mft"), **chosen)
    assert made_up == again
    assert kept.read_text() == text
    assert kept.with_name("train.log").read_text() == log
    training = config.training.model_copy(update={"seed": 9})
    other = config.model_copy(update={"training": training})
    with pytest.raises(ConfigError, match="another configuration"):
        compare_strategies(other, output, strategies=("ft",), **chosen)
    # no frame of the auxiliary task has the composition of the test
    mft = load_config(output / "mft" / "Mg-O" / "config.yaml")
    frames = [s for rows in load_task(mft).heads["first"].values() for s in rows]
    assert {str(s.atoms.symbols.formula.reduce()[0]) for s in frames} == {"Si", "SiO"}


def test_other_labels_are_noticed(
    folder: Path, write_config: Callable[..., Path], pretrained: Path, tmp_path: Path
) -> None:
    rows = read(folder / "crystals.extxyz", ":")
    write(tmp_path / "rows.extxyz", rows)
    path = write_config(
        "noticed",
        "mft",
        pretrained=str(pretrained),
        data={"train": [str(tmp_path / "rows.extxyz")]},
        auxiliary={"head": "first", "data": ["crystals.extxyz"], "batch_size": 16},
    )
    options = ["--compare", "kernel", "--split", "chemsys", "--folds", "Si"]
    options += ["-o", str(tmp_path / "compared"), "-q"]
    assert run(path, *options)[0] == 0
    assert run(path, *options)[0] == 0
    for atoms in rows:
        atoms.info["softness"] += 1.0
    write(tmp_path / "rows.extxyz", rows)
    split = tmp_path / "compared" / "split.json"
    options[3] = str(split)
    code, _, errors = run(path, *options)
    assert code == 1
    assert "of other rows, or from another pretrained model" in errors


@pytest.mark.slow
def test_auto_trains_the_best_on_all_rows(
    folder: Path, write_config: Callable[..., Path], pretrained: Path
) -> None:
    path = write_config(
        "chosen",
        "mft",
        pretrained=str(pretrained),
        data={"train": ["crystals.extxyz"]},
        auxiliary={"head": "first", "data": ["crystals.extxyz"], "batch_size": 16},
    )
    output = folder / "auto"
    options = ["--compare", "lp", "--strategy", "auto", "--split", "chemsys"]
    options += ["--folds", "Si", "-o", str(output), "--threads", "1", "-q"]
    code, text, errors = run(path, *options)
    assert code == 0, errors
    assert "Smallest OOD error: lp" in text
    model = output / "best" / "model.mft"
    *lines, verdict, last = text.splitlines()
    page = next(line for line in lines if line.startswith("collapse report: "))
    (start,) = (k for k, line in enumerate(lines) if line.startswith("drift from"))
    title, validation, heading, train = lines[start - 2 : start + 2]
    assert last == str(model)
    assert page == f"collapse report: {model.with_name('collapse.html')}"
    assert heading.split()[:4] == ["drift", "from", "model.mft", "atoms"]
    assert verdict.startswith("softness: MAE on validation is ")
    legend = "\n".join(lines[lines.index(page) + 1 :])
    for term in ("validation", "in 90 %", "W1", "spread", "DB", "constant"):
        assert f"\n{term}: " in legend
    # lp leaves the descriptor as it is
    assert train.split()[::2][:2] == ["train", "0"]
    metrics = ["n", "mae", "rmse", "r2", "spearman", "in", "90", "%"]
    assert title.split() == ["softness", "(1)", *metrics]
    card = read_bundle(model).card
    metrics = card.properties["softness"].metrics["validation"]
    rows = metrics["n"]
    shown = [f"{metrics[key]:.4g}" for key in ("n", "mae", "rmse")]
    assert validation.split()[:4] == ["validation", *shown]
    assert card.strategy == "lp"
    assert card.properties["softness"].n_train == 30 - rows
    config = load_config(path)
    assert without_split(config).data.split is None
