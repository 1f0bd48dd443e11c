from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from mftscreen.errors import ConfigError
from mftscreen.finetune.config.derive import derive_config
from mftscreen.finetune.config.read import load_config
from mftscreen.finetune.strategies import (
    FTConfig,
    LPConfig,
    MFTConfig,
    PretrainConfig,
    ScratchConfig,
)

DOWNSTREAM = {
    "name": "tiny",
    "properties": {"gap": {"label": "band gap", "unit": "eV", "column": "gap_ev"}},
    "data": {"train": ["train.extxyz"]},
    "training": {"steps": 10},
}
PRETRAINED = {**DOWNSTREAM, "pretrained": "mft-mini"}
AUXILIARY = {"data": ["ff.extxyz"], "head": "oxides"}
VALID = {
    "scratch": {"strategy": "scratch", **DOWNSTREAM},
    "ft": {"strategy": "ft", **PRETRAINED},
    "lp": {"strategy": "lp", **PRETRAINED},
    "mft": {"strategy": "mft", **PRETRAINED, "auxiliary": AUXILIARY},
    "pretrain": {
        "strategy": "pretrain",
        "name": "backbone",
        "branches": {"oxides": {"data": ["a.extxyz"]}, "alloys": {"data": ["b.db"]}},
        "energy_head": "oxides",
        "training": {"steps": 10},
    },
}
CLASSES = {
    "scratch": ScratchConfig,
    "ft": FTConfig,
    "lp": LPConfig,
    "mft": MFTConfig,
    "pretrain": PretrainConfig,
}


def changed(strategy: str, **values: Any) -> dict[str, Any]:
    """Return a valid document with values set at places like ``data__train``."""
    document: dict[str, Any] = copy.deepcopy(VALID[strategy])
    for place, value in values.items():
        *parents, key = place.split("__")
        target = document
        for parent in parents:
            target = target.setdefault(parent, {})
        target[key] = value
    return document


def load(tmp_path: Path, document: object) -> Any:
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return load_config(path)


def problems(tmp_path: Path, document: object) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, document)
    assert caught.value.path == tmp_path / "run.yaml"
    return caught.value.problems


@pytest.mark.parametrize("strategy", VALID)
def test_each_strategy_is_read(tmp_path: Path, strategy: str) -> None:
    config = load(tmp_path, VALID[strategy])
    assert type(config) is CLASSES[strategy]
    assert config.training.steps == 10


def test_defaults_of_mft_are_those_of_the_paper(tmp_path: Path) -> None:
    config = load(tmp_path, VALID["mft"])
    assert config.auxiliary.share == 0.5
    assert config.auxiliary.lambda_reg == 1.0
    assert config.training.learning_rate == (1e-3, 1e-5)
    assert config.training.gradient_max_norm == 5.0
    assert (config.training.batch_size, config.auxiliary.batch_size) == (512, 128)


@pytest.mark.parametrize("strategy", ["scratch", "ft", "lp"])
@pytest.mark.parametrize("key", ["aux_prob", "auxiliary", "lambda_reg"])
def test_only_mft_has_an_auxiliary_task(
    tmp_path: Path, strategy: str, key: str
) -> None:
    value = AUXILIARY if key == "auxiliary" else 0.5
    (problem,) = problems(tmp_path, changed(strategy, **{key: value}))
    assert problem.startswith(f"{key}: unknown key")


def test_mft_without_auxiliary_is_refused(tmp_path: Path) -> None:
    document = changed("mft")
    del document["auxiliary"]
    assert problems(tmp_path, document) == ["auxiliary: Field required"]


@pytest.mark.parametrize("strategy", ["ft", "lp", "mft"])
def test_fine_tuning_without_a_pretrained_model_is_refused(
    tmp_path: Path, strategy: str
) -> None:
    document = changed(strategy)
    del document["pretrained"]
    assert problems(tmp_path, document) == ["pretrained: Field required"]


@pytest.mark.parametrize(
    ("strategy", "place", "closest"),
    [
        ("ft", "pretraned", "pretrained"),
        ("ft", "training__stpes", "steps"),
        ("ft", "data__trian", "train"),
        ("ft", "properties__gap__colunm", "column"),
        ("scratch", "descriptor__edge_cutof", "edge_cutoff"),
        ("mft", "auxiliary__lamda_reg", "lambda_reg"),
        ("mft", "auxiliary__loss__virals", "virial"),
        ("pretrain", "branches__oxides__grup", "group"),
    ],
)
def test_unknown_key_gets_the_closest_valid_one(
    tmp_path: Path, strategy: str, place: str, closest: str
) -> None:
    (problem,) = problems(tmp_path, changed(strategy, **{place: 1}))
    where = place.replace("__", ".")
    assert problem == f"{where}: unknown key; did you mean {closest!r}?"


def test_unknown_key_unlike_any_other_gets_the_list(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, changed("ft", properties__gap__zzz=1))
    assert problem == (
        "properties.gap.zzz: unknown key; known: bias, column, head, label, loss, "
        "neurons, transform, unit"
    )


def test_all_problems_come_at_once(tmp_path: Path) -> None:
    document = changed(
        "mft",
        training__steps=0,
        training__learning_rate=[1e-3],
        data__validation_fraction=0.5,
        auxiliary__aux_prob=1,
        colour="red",
        properties={"band gap": {"label": "band gap"}},
    )
    del document["pretrained"]
    found = problems(tmp_path, document)
    assert sorted(problem.split(":")[0] for problem in found) == [
        "auxiliary.aux_prob",
        "colour",
        "data.validation_fraction",
        "pretrained",
        "properties.band gap",
        "training.learning_rate.1",
        "training.steps",
    ]


@pytest.mark.parametrize(
    ("strategy", "change", "message"),
    [
        ("mft", {"auxiliary__head": "gap"}, "auxiliary head are both 'gap'"),
        ("mft", {"auxiliary__head": "v1.1"}, "auxiliary.head: .*letters, digits"),
        ("mft", {"auxiliary__head": ""}, "auxiliary.head: .*letters, digits"),
        ("pretrain", {"energy_head": "metals"}, "'metals' is not a head"),
        ("pretrain", {"probabilities": {"c": 1}}, "'branches' has oxides, alloys"),
        ("pretrain", {"branches": {}}, "branches: .* at least 1"),
        ("ft", {"data__train": []}, "data.train: .* at least 1"),
        (
            "ft",
            {"properties__gap__loss": "huber"},
            "gap.loss: .*'mse', 'mae' or 'smooth",
        ),
        ("ft", {"properties": {}}, "properties: .* at least 1"),
        ("mft", {"auxiliary__aux_prob": 0.0}, "auxiliary.aux_prob: .* greater than 0"),
        (
            "ft",
            {
                "properties__gap__head": "extensive",
                "properties__gap__transform": "log10",
            },
            "transform: log10 is for head: intensive",
        ),
        ("mft", {"transfer_backbone": False}, "needs transfer_head: false"),
        (
            "mft",
            {"transfer_properties": True, "transfer_head": False},
            "needs transfer_head: true",
        ),
        (
            "mft",
            {"transfer_properties": True, "properties__gap__transform": "standardise"},
            "gap has transform: standardise",
        ),
        (
            "mft",
            {"auxiliary__combine": "joint", "auxiliary__aux_prob": 0.5},
            "aux_prob is for 'combine: alternate'",
        ),
        ("mft", {"auxiliary__lambda_reg": 0}, "lambda_reg: 0 needs 'combine: joint'"),
        ("mft", {"auxiliary__lambda_reg": -1}, "lambda_reg.* greater than or equal"),
        ("ft", {"training__patience": 0}, "training.patience: .* greater than 0"),
        ("ft", {"training__layer_decay": 1.5}, "layer_decay: .* less than or equal"),
        ("ft", {"preset": "qm8"}, "preset: .*'qm9' or 'matbench'"),
        ("ft", {"preset": ["qm9"]}, "preset: .*'qm9' or 'matbench'"),
        ("ft", {"training__learning_rate": [1e-5, 1e-3]}, "1e-05, 0.001\\] rises"),
        ("ft", {"training__learning_rate": [math.inf, 1e-3]}, "rate.0: .* finite"),
        ("ft", {"training__seed": -1}, "training.seed: .* greater than or equal to 0"),
        ("ft", {"training__seed": 2**32}, "training.seed: .* less than 4294967296"),
        ("mft", {"auxiliary__lambda_reg": math.inf}, "auxiliary.lambda_reg: .* finite"),
        ("mft", {"auxiliary__lambda_reg": "much"}, "auxiliary.lambda_reg: .* 'auto'"),
        (
            "mft",
            {"auxiliary__loss": {"energy": [0, 20]}},
            r"energy: \[0, 20\]: deepmd-kit leaves the term out",
        ),
        ("mft", {"auxiliary__elements": ["Xx"]}, "elements.0: .*'Xx' is not a chem"),
        ("scratch", {"elements": ["si"]}, "elements.0: .*'si' is not a chemical"),
        (
            "pretrain",
            {"branches__v1.1": {"data": ["a.extxyz"]}},
            "branches.v1.1: .*letters, digits, underscores and dashes",
        ),
    ],
)
def test_values_that_make_no_sense(
    tmp_path: Path, strategy: str, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, changed(strategy, **change))


@pytest.mark.parametrize("kind", ["mse", "mae"])
def test_measured_weight_needs_a_gradient(tmp_path: Path, kind: str) -> None:
    auxiliary = {
        "head": "oxides", "self_replay": {}, "lambda_reg": "auto",
        "loss": {"kind": kind},
    }  # fmt: skip
    document = changed("mft", auxiliary=auxiliary)
    if kind == "mae":
        assert load(tmp_path, document).auxiliary.lambda_reg == "auto"
        return
    (problem,) = problems(tmp_path, document)
    assert "take loss.kind: mae, or a number for lambda_reg" in problem


@pytest.mark.parametrize(
    ("preset", "strategy", "steps", "n_gpus", "loss"),
    [
        ("qm9", "ft", 100_000, 1, "mse"),
        ("qm9", "mft", 100_000, 2, "mse"),
        ("matbench", "lp", 100_000, 1, "smooth_mae"),
        ("matbench", "mft", 200_000, 1, "smooth_mae"),
    ],
)
def test_presets_are_the_columns_of_table_8(
    tmp_path: Path, preset: str, strategy: str, steps: int, n_gpus: int, loss: str
) -> None:
    document = changed(strategy, preset=preset)
    del document["training"]
    config = load(tmp_path, document)
    assert (config.training.steps, config.training.n_gpus) == (steps, n_gpus)
    assert config.properties["gap"].loss == loss


def test_preset_leaves_what_is_given(tmp_path: Path) -> None:
    config = load(tmp_path, changed("mft", preset="matbench"))
    assert (config.training.steps, config.training.batch_size) == (10, 512)
    assert config.auxiliary.head == "oxides"
    assert config.properties["gap"].column == "gap_ev"


@pytest.mark.parametrize("document", [{"name": "x"}, {"strategy": "sft"}])
def test_strategy_must_be_a_known_one(tmp_path: Path, document: dict[str, str]) -> None:
    assert problems(tmp_path, document) == [
        "strategy: one of scratch, ft, lp, mft, auto, pretrain is needed"
    ]


def test_relative_paths_start_at_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "config"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    document = changed(
        "mft",
        pretrained="models/base.pt",
        data__train=["train.extxyz", "/data/more.db"],
        data__validation=["../valid.csv"],
        data__test={"fold 0": "test.csv"},
        auxiliary__data=["ff.extxyz"],
    )
    config = load(folder, document)
    assert config.data.train == [folder / "train.extxyz", Path("/data/more.db")]
    assert config.data.validation == [folder / "../valid.csv"]
    assert config.data.test == {"fold 0": folder / "test.csv"}
    assert config.auxiliary.data == [folder / "ff.extxyz"]
    assert config.pretrained == str(folder / "models/base.pt")


def test_paths_of_branches_start_at_the_file(tmp_path: Path) -> None:
    config = load(tmp_path, VALID["pretrain"])
    assert config.branches["alloys"].data == [tmp_path / "b.db"]


@pytest.mark.parametrize("head", ["crystals", "molecules"])
@pytest.mark.parametrize("strategy", ["mft", "ft", "lp"])
def test_name_of_several_models_becomes_one_for_all_that_is_derived(
    tmp_path: Path, head: str, strategy: Any
) -> None:
    document = {**VALID["mft"], "pretrained": "mft-mini"}
    document["auxiliary"] = {**document["auxiliary"], "head": head}
    config = derive_config(load(tmp_path, document), strategy)
    assert config.pretrained == f"mft-mini-{head}"


def test_registered_name_is_no_path(tmp_path: Path) -> None:
    assert load(tmp_path, VALID["lp"]).pretrained == "mft-mini-crystals"


@pytest.mark.parametrize("text", ["[1, 2", "a: b: c", "\tx: 1", "a: !!python/name:os"])
def test_not_yaml(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"run\.yaml: not YAML"):
        load_config(path)


def test_other_encoding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_bytes("name: ångström".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"run\.yaml"):
        load_config(path)


@pytest.mark.parametrize("text", ["", "- a\n- b", "just text"])
def test_yaml_that_is_no_mapping(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match="a mapping of keys to values"):
        load_config(path)


def test_missing_file_and_directory(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(ConfigError, match=path.name):
            load_config(path)


@pytest.mark.parametrize("strategy", VALID)
def test_frozen(tmp_path: Path, strategy: str) -> None:
    config = load(tmp_path, VALID[strategy])
    with pytest.raises(ValidationError, match="frozen"):
        config.name = "other"
    with pytest.raises(ValidationError, match="frozen"):
        config.training.steps = 1
