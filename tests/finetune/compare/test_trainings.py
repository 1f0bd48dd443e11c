from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from mftscreen.cli import main
from mftscreen.errors import ConfigError, DataError
from mftscreen.finetune.compare.folds import choose_folds, prepare_split, without_split
from mftscreen.finetune.compare.trainings import compare_strategies
from mftscreen.finetune.compare.verdict import Comparison, Result
from mftscreen.finetune.config.derive import derive_config
from mftscreen.finetune.config.read import load_config
from mftscreen.finetune.config.recipes import find_recipes
from mftscreen.finetune.run.run import run_training
from mftscreen.finetune.strategies import (
    AutoConfig,
    FTConfig,
    LPConfig,
    MFTConfig,
    ScratchConfig,
)
from mftscreen.finetune.task.deepmd_input import PreparedData, build_deepmd_input
from mftscreen.finetune.task.pretrained import load_pretrained
from mftscreen.finetune.task.task import load_task
from mftscreen.model.files.bundle import read_bundle
from mftscreen.model.files.checkpoint import model_parameters
from mftscreen.ood.splits import Split

MFT = """\
strategy: mft
name: shear
properties: {log_gvrh: {label: shear modulus, unit: log10(GPa)}}
data: {train: [rows.extxyz], test: {more: more.extxyz}}
pretrained: mft-mini
auxiliary: {head: crystals, data: [frames.extxyz], aux_prob: 0.3, lambda_reg: 0.02}
training: {steps: 4000, save_every: 250, batch_size: 96, seed: 5, layer_decay: 0.8}
"""


FT = """\
strategy: ft
name: shear
properties: {log_gvrh: {label: shear modulus}}
data: {train: [rows.extxyz]}
pretrained: mft-mini
training: {steps: 10}
"""


@pytest.fixture
def mft(tmp_path: Path) -> MFTConfig:
    path = tmp_path / "mft.yaml"
    path.write_text(MFT)
    config = load_config(path)
    assert isinstance(config, MFTConfig)
    return config


@pytest.mark.parametrize(("strategy", "expected"), [("ft", FTConfig), ("lp", LPConfig)])
def test_single_task_strategies_lose_the_auxiliary_task_only(
    mft: MFTConfig, strategy: str, expected: type
) -> None:
    derived = derive_config(mft, strategy)
    assert type(derived) is expected
    ours = derived.model_dump()
    theirs = mft.model_dump()
    changed = {key for key in ours.keys() & theirs.keys() if ours[key] != theirs[key]}
    only = {"auxiliary", "transfer_head", "transfer_backbone", "transfer_properties"}
    assert theirs.keys() - ours.keys() == only
    assert changed == {"strategy", "name", "training"}
    assert ours["name"] == f"shear-{strategy}"
    # 70 % of MFT's steps are on the property, and so are all of these
    assert ours["training"] == {**theirs["training"], "steps": 2800, "save_every": 175}


def test_scratch_has_the_pretrained_descriptor_s_size(mft: MFTConfig) -> None:
    derived = derive_config(mft, "scratch")
    assert type(derived) is ScratchConfig
    state, _ = load_pretrained("mft-mini-crystals")
    parameters = next(iter(model_parameters(state).values()))
    assert derived.elements == parameters["type_map"]
    assert derived.training.layer_decay == 1.0
    data = {"log_gvrh": PreparedData(["a"], ["b"])}
    repflow = parameters["descriptor"]["repflow"]
    neighbors = (repflow["e_sel"] - 1, 1)  # which need the same padding
    document = build_deepmd_input(derived, data, parameters["type_map"], neighbors)
    made = document["model"]["shared_dict"]["descriptor"]
    assert made["repflow"].items() <= repflow.items()
    for key in ("type", "activation_function", "precision", "use_tebd_bias"):
        assert made[key] == parameters["descriptor"][key]


def test_joint_steps_are_as_many_for_all(mft: MFTConfig) -> None:
    auxiliary = mft.auxiliary.model_copy(update={"combine": "joint", "aux_prob": None})
    joint = mft.model_copy(update={"auxiliary": auxiliary})
    assert derive_config(joint, "ft").training.steps == 4000


@pytest.mark.parametrize("strategy", ["scratch", "ft", "lp"])
def test_derived_settings_are_those_of_the_recipes(strategy: str) -> None:
    recipes = find_recipes()
    mft = load_config(recipes["mft/log_gvrh"].path)
    assert derive_config(mft, "mft") is mft
    derived = derive_config(mft, strategy).model_dump()
    recipe = load_config(recipes[f"{strategy}/log_gvrh"].path).model_dump()
    derived["data"] = recipe["data"]  # files in another folder
    # as many checkpoints of half as many steps
    recipe["training"]["save_every"] //= 2
    differing = {"name", *(["descriptor", "elements"] if strategy == "scratch" else [])}
    assert {k for k in derived if derived[k] != recipe[k]} - {"name"} <= differing
    assert derived["training"] == recipe["training"]
    if strategy == "scratch":
        # the preset's size is the paper's, the pretrained one is smaller
        assert (
            derived["descriptor"]["n_layers"],
            recipe["descriptor"]["n_layers"],
        ) == (
            3,
            16,
        )


def test_only_mft_takes_over_heads_of_properties(mft: MFTConfig) -> None:
    goes_on = mft.model_copy(update={"transfer_properties": True})
    assert derive_config(goes_on, "mft") is goes_on
    with pytest.raises(ConfigError, match="start with random ones"):
        derive_config(goes_on, "ft")


def test_what_cannot_be_derived(mft: MFTConfig) -> None:
    with pytest.raises(ConfigError, match="derived from mft, not from ft"):
        derive_config(derive_config(mft, "ft"), "lp")
    with pytest.raises(ConfigError, match="'sft' is not one of scratch, ft, lp, mft"):
        derive_config(mft, "sft")


def _results() -> Comparison:
    errors = {  # strategy -> property -> ood MAE in folds a and b
        "lp": {"gap": (0.3, 0.5), "shear": (30.0, 10.0)},
        "ft": {"gap": (0.1, 0.5), "shear": (60.0, 40.0)},
    }
    baseline = {"gap": 1.0, "shear": 50.0}
    return Comparison(
        tuple(
            Result(
                strategy,
                fold,
                name,
                {
                    "ood": {
                        "n": 20.0 - k,
                        "mae": maes[k],
                        "mae_of_training_mean": baseline[name],
                    },
                    "id": {"mae": 0.1, "mae_of_training_mean": baseline[name]},
                },
                {"w1_ood": float(k)},
            )
            for k, fold in enumerate(("a", "b"))
            for strategy, properties in errors.items()
            for name, maes in properties.items()
        )
    )


def test_the_best_has_the_smallest_relative_errors() -> None:
    # lp: 0.4 / 1 and 20 / 50; ft: 0.3 / 1 and 50 / 50
    assert _results().best == "lp"
    gap = Comparison(tuple(r for r in _results().results if r.property == "gap"))
    assert gap.best == "ft"


def test_a_property_without_ood_labels_is_left_out_of_the_choice() -> None:
    results = [
        # shear has labels in fold b only, another property in none
        r if r.property == "gap" or r.fold == "b"
        else Result(r.strategy, r.fold, r.property, {"id": r.metrics["id"]})
        for r in _results().results
    ]  # fmt: skip
    errors = {"id": {"mae": 0.1, "mae_of_training_mean": 0.0}}
    results += [Result(s, f, "hardness", errors) for f in "ab" for s in ("lp", "ft")]
    found = Comparison(tuple(results))
    # lp: 0.4 / 1 and 10 / 50; ft: 0.3 / 1 and 40 / 50
    assert found.best == "lp"
    assert found.tested_folds("shear") == ["b"]
    assert found.differences("shear", "ft") == [30.0]
    summary = json.loads(found.to_json())["summary"]
    above = {(r["property"], r["strategy"]): r["ood_mae_above_best"] for r in summary}
    assert above["shear", "ft"]["folds"] == ["b"]
    assert above["hardness", "ft"] is None
    assert "hardness: no OOD test has a label" in found.to_table()


def test_a_constant_that_is_right_is_no_reason_to_fail() -> None:
    errors = {"mae": 0.0, "mae_of_training_mean": 0.0}
    assert Comparison((Result("ft", "a", "gap", {"ood": errors}),)).best == "ft"


def test_differences_are_paired_by_fold() -> None:
    shuffled = Comparison(_results().results[::-1])
    assert shuffled.folds == ["b", "a"]
    assert shuffled.differences("shear", "ft") == [30.0, 30.0]
    document = json.loads(_results().to_json())
    ft = next(
        row for row in document["summary"]
        if (row["property"], row["strategy"]) == ("gap", "ft")
    )  # fmt: skip
    assert ft["mae"]["ood"] == {"mean": 0.3, "std": pytest.approx(0.08**0.5)}
    assert ft["ood_mae_above_best"]["by_fold"] == pytest.approx([-0.2, 0.0])
    assert document["best"] == "lp"


def test_tables_for_people_and_programs() -> None:
    table = _results().to_table()
    assert "gap: MAE mean ± standard deviation of 2 folds" in table
    assert ["lp", "0.1", "±", "0", "0.4", "±", "0.141", "0.5", "±", "0.707"] in [
        line.split() for line in table.splitlines()
    ]
    assert "shear: OOD MAE above that of lp, by fold" in table
    shown = [line.split() for line in table.splitlines()]
    assert ["strategy", "id", "ood", "w1_ood"] in shown
    assert ["(OOD", "rows)", "20", "19"] in shown
    small = [line for line in table.splitlines() if "fewer than 20" in line]
    assert small == [
        f"{name}: fewer than 20 OOD rows, which decide little, in b"
        for name in ("gap", "shear")
    ]
    rows = list(csv.DictReader(_results().to_csv().splitlines()))
    assert len(rows) == 8
    names = list(rows[0])
    assert names[:4] == ["strategy", "fold", "property", "id_mae"]
    assert names[5:7] == ["ood_n", "ood_mae"]
    assert names[-2:] == ["w1_ood", "model"]
    assert rows[0]["strategy"] == "lp"
    assert float(rows[0]["ood_mae"]) == 0.3
    assert float(rows[-1]["w1_ood"]) == 1.0


def run(*arguments: str | Path) -> tuple[int, str, str]:
    done = CliRunner().invoke(main, ["finetune", *map(str, arguments)])
    return done.exit_code, done.stdout, done.stderr


def test_folds_are_chosen_by_number_or_name(folder: Path, mft: MFTConfig) -> None:
    data = mft.data.model_copy(update={"train": [folder / "crystals.extxyz"]})
    properties = {"softness": mft.properties["log_gvrh"]}
    config = mft.model_copy(update={"data": data, "properties": properties})
    split = prepare_split(config, "chemsys", folder / "folds")
    names = [fold.name for fold in Split.read(split).folds]
    assert names == ["Mg-O", "O-Si", "Si"]
    assert choose_folds(split, None, config) == names
    whole = Split.read(split)
    first = whole.folds[0]
    smaller = replace(first, train=first.train + first.test[1:], test=first.test[:1])
    other = folder / "smaller.json"
    replace(whole, folds=(smaller, *whole.folds[1:])).write(other)
    assert choose_folds(other, "2", config) == names[1:]
    assert choose_folds(split, "Si,Mg-O,Si", config) == ["Si", "Mg-O"]
    for wrong, message in (
        ("4", "there are 3"),
        ("4,", "no fold '4'; the folds"),
        (" , ", "names no fold"),
    ):
        with pytest.raises(DataError, match=message):
            choose_folds(split, wrong, config)
    # the one that is there is taken again, and no other method's
    assert prepare_split(config, "chemsys", folder / "folds") == split
    with pytest.raises(DataError, match="split by chemsys; --split asks for random"):
        prepare_split(config, "random", folder / "folds")
    with pytest.raises(DataError, match="no split method 'best'"):
        prepare_split(config, "best", folder)
    with pytest.raises(ConfigError, match="needs a split"):
        prepare_split(config, None, folder)


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
    *lines, page, last = text.splitlines()
    (start,) = (k for k, line in enumerate(lines) if line.startswith("drift from"))
    title, validation, heading, train = lines[start - 2 : start + 2]
    assert last == str(model)
    assert page == f"collapse report: {model.with_name('collapse.html')}"
    assert heading.split()[:4] == ["drift", "from", "model.mft", "atoms"]
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


def test_auto_in_the_configuration_is_the_flag(tmp_path: Path, mft: MFTConfig) -> None:
    path = tmp_path / "auto.yaml"
    path.write_text(MFT.replace("strategy: mft", "strategy: auto"))
    auto = load_config(path)
    assert isinstance(auto, AutoConfig)
    for strategy in ("ft", "mft"):
        assert derive_config(auto, strategy) == derive_config(mft, strategy)
    for options in ([], ["--strategy", "auto"], ["--compare", "ft"]):
        code, _, errors = run(path, *options)
        assert code == 1
        assert "a comparison needs a split; or give --split" in errors
    # a strategy that is given is trained alone
    code, _, errors = run(path, "--strategy", "ft", "--folds", "2")
    assert code == 2
    assert "--split and --folds are for --compare" in " ".join(errors.split())
    with pytest.raises(ConfigError, match="auto is for 'mftscreen finetune'"):
        run_training(auto, tmp_path / "run")


def test_auto_takes_its_presets_from_mft(tmp_path: Path) -> None:
    texts = []
    for strategy in ("mft", "auto"):
        path = tmp_path / f"{strategy}.yaml"
        path.write_text(
            f"strategy: {strategy}\nname: gap\npreset: matbench\npretrained: mft-mini\n"
            "properties: {gap: {label: gap}}\ndata: {train: [rows.extxyz]}\n"
            "auxiliary: {data: [frames.extxyz]}\n"
        )
        texts.append(derive_config(load_config(path), "mft"))
    assert texts[0] == texts[1]


def test_another_strategy_needs_the_settings_of_mft(tmp_path: Path) -> None:
    path = tmp_path / "ft.yaml"
    path.write_text(FT)
    for options in (["--strategy", "lp"], ["--compare", "ft", "--split", "random"]):
        code, _, errors = run(path, *options)
        assert code == 1
        assert "other strategies are derived from mft, not from ft" in errors


def test_heads_that_know_the_rows_are_not_compared(tmp_path: Path) -> None:
    path = tmp_path / "mft.yaml"
    path.write_text(MFT + "transfer_properties: true\n")
    code, _, errors = run(path, "--compare", "mft", "--split", "random")
    assert code == 1
    assert "nothing can be compared" in errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--compare", "ft,best"], "'best' is not one of scratch, ft, lp, mft"),
        (["--compare", "ft, best"], "'best' is not one of"),
        (["--folds", "2"], "are for --compare"),
        (["--compare", "ft", "--strategy", "lp"], "--strategy lp one"),
    ],
)
def test_wrong_usage(tmp_path: Path, options: list[str], message: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(MFT)
    code, _, errors = run(path, *options)
    assert code == 2
    assert message in " ".join(errors.split())
