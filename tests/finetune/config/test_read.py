from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from mftscreen.errors import ConfigError
from mftscreen.finetune.config.derive import derive_config
from mftscreen.finetune.config.read import as_config, load_config
from mftscreen.finetune.strategies import (
    FTConfig,
    LPConfig,
    MFTConfig,
    PretrainConfig,
    ScratchConfig,
)

CLASSES = {
    "scratch": ScratchConfig,
    "ft": FTConfig,
    "lp": LPConfig,
    "mft": MFTConfig,
    "pretrain": PretrainConfig,
}


@pytest.mark.parametrize("strategy", CLASSES)
def test_each_strategy_is_read(
    tmp_path: Path, strategy: str, load: Callable[..., Any], changed: Callable[..., Any]
) -> None:
    config = load(tmp_path, changed(strategy))
    assert type(config) is CLASSES[strategy]
    assert config.training.steps == 10


@pytest.mark.parametrize("strategy", ["scratch", "ft", "lp"])
@pytest.mark.parametrize("key", ["aux_prob", "auxiliary", "lambda_reg"])
def test_only_mft_has_an_auxiliary_task(
    tmp_path: Path,
    strategy: str,
    key: str,
    problems: Callable[..., Any],
    changed: Callable[..., Any],
) -> None:
    value = changed("mft")["auxiliary"] if key == "auxiliary" else 0.5
    (problem,) = problems(tmp_path, changed(strategy, **{key: value}))
    assert problem.startswith(f"{key}: unknown key")


def test_mft_without_auxiliary_is_refused(
    tmp_path: Path, problems: Callable[..., Any], changed: Callable[..., Any]
) -> None:
    document = changed("mft")
    del document["auxiliary"]
    assert problems(tmp_path, document) == ["auxiliary: is missing"]


def test_key_of_the_strategy_may_be_misspelt(
    tmp_path: Path, problems: Callable[..., Any], changed: Callable[..., Any]
) -> None:
    document = changed("ft")
    document["stragegy"] = document.pop("strategy")
    (problem,) = problems(tmp_path, document)
    assert problem.endswith("is needed; is 'stragegy' meant to be it?")
    (problem,) = problems(tmp_path, document | {"strategy": "fine"})
    assert problem.endswith("is needed")


@pytest.mark.parametrize("strategy", ["ft", "lp", "mft"])
def test_fine_tuning_without_a_pretrained_model_is_refused(
    tmp_path: Path,
    strategy: str,
    problems: Callable[..., Any],
    changed: Callable[..., Any],
) -> None:
    document = changed(strategy)
    del document["pretrained"]
    assert problems(tmp_path, document) == ["pretrained: is missing"]


@pytest.mark.parametrize("strategy", ["ft", "lp", "mft"])
def test_only_kernels_read_several_descriptors(
    tmp_path: Path,
    strategy: str,
    problems: Callable[..., Any],
    changed: Callable[..., Any],
) -> None:
    for pretrained in (["7net-0", "mft-mini"], ["7net-0"]):
        document = changed(strategy, pretrained=pretrained, readout="kernel")
        (problem,) = problems(tmp_path, document)
        assert problem.startswith("pretrained: ")
        assert "only strategy: kernel reads several descriptors" in problem


def test_kernels_read_one_or_several_descriptors(
    tmp_path: Path, load: Callable[..., Any], changed: Callable[..., Any]
) -> None:
    def pretrained(value: object) -> Any:
        config = load(tmp_path, changed("kernel", pretrained=value))
        # as a run directory has it
        assert type(config).model_validate(config.model_dump(mode="json")) == config
        return config

    several = pretrained(["7net-0", "mft-mini", "a/b.mft"])
    paths = ["mft-mini-crystals", str(tmp_path / "a" / "b.mft")]
    assert several.pretrained == ["7net-0", *paths]
    assert several.plan.pretrained == "7net-0"
    assert several.plan.beside == paths
    one = pretrained(["mft-mini"])
    assert one == pretrained("mft-mini")
    assert (one.plan.pretrained, one.plan.beside) == ("mft-mini-crystals", [])


@pytest.mark.parametrize(
    ("pretrained", "problem"),
    [
        ([], "0 models; 1 to 8 are possible"),
        ([f"{k}.mft" for k in range(9)], "9 models; 1 to 8 are possible"),
        (["mft-mini", "mft-mini-crystals"], "a model stands in it twice"),
        (["mft-mini", 3], "a name or path of a model is needed, or a list of these"),
        (3, "a name or path of a model is needed, or a list of these"),
    ],
)
def test_lists_of_descriptors_have_models(
    tmp_path: Path,
    pretrained: object,
    problem: str,
    problems: Callable[..., Any],
    changed: Callable[..., Any],
) -> None:
    document = changed("kernel", pretrained=pretrained)
    assert problems(tmp_path, document) == [f"pretrained: {problem}"]


def test_paths_in_python_may_be_paths(tmp_path: Path) -> None:
    document = {
        "strategy": "kernel", "name": "both", "properties": {"gap": {}},
        "data": {"train": [tmp_path / "rows.extxyz"]},
        "pretrained": (tmp_path / "a.mft", "7net-0"),
    }  # fmt: skip
    config: Any = as_config(document)
    assert config.pretrained == [str(tmp_path / "a.mft"), "7net-0"]


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
    tmp_path: Path,
    strategy: str,
    place: str,
    closest: str,
    problems: Callable[..., Any],
    changed: Callable[..., Any],
) -> None:
    (problem,) = problems(tmp_path, changed(strategy, **{place: 1}))
    where = place.replace("__", ".")
    assert problem == f"{where}: unknown key; did you mean {closest!r}?"


@pytest.mark.parametrize(
    ("descriptor", "problem"),
    [
        (
            {"type": "dpa4", "chanels": 8},
            ".chanels: unknown key; did you mean 'channels",
        ),
        ({"type": "dpa4", "n_dim": 8}, ".n_dim: unknown key"),
        ({"type": "dpa4", "lmax": 9}, ".lmax: Input should be less than or equal to 6"),
        ({"type": "dpa4", "grid_branch": "x"}, ".grid_branch: Input should be a valid"),
        ({"type": "dpa3", "channels": 8}, ".channels: unknown key"),
        ({"type": "dpa5"}, ": its 'type' is one of dpa3, dpa4"),
        ([8], ": its 'type' is one of dpa3, dpa4"),
    ],
)
def test_descriptors_are_of_the_kind_that_they_name(
    tmp_path: Path,
    descriptor: object,
    problem: str,
    problems: Callable[..., Any],
    changed: Callable[..., Any],
) -> None:
    document = {**changed("pretrain"), "descriptor": descriptor}
    first, *_ = problems(tmp_path, document)
    assert first.startswith(f"descriptor{problem}")


def test_unknown_key_unlike_any_other_gets_the_list(
    tmp_path: Path, problems: Callable[..., Any], changed: Callable[..., Any]
) -> None:
    (problem,) = problems(tmp_path, changed("ft", properties__gap__zzz=1))
    assert problem == (
        "properties.gap.zzz: unknown key; known: bias, column, columns, components, "
        "formula_atoms, head, kind, label, loss, neurons, transform, unit"
    )


def test_all_problems_come_at_once(
    tmp_path: Path, problems: Callable[..., Any], changed: Callable[..., Any]
) -> None:
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
    ("document", "hint"),
    [
        ({"name": "x"}, ""),
        ({"strategy": "zzz"}, ""),
        ({"strategy": "sft"}, "; did you mean 'ft'?"),
    ],
)
def test_strategy_must_be_a_known_one(
    tmp_path: Path, document: dict[str, str], hint: str, problems: Callable[..., Any]
) -> None:
    known = "scratch, kernel, ft, lp, mft, auto, pretrain"
    assert problems(tmp_path, document) == [f"strategy: one of {known} is needed{hint}"]


def test_a_model_may_be_the_folder_of_a_training_beside_the_file(
    tmp_path: Path, load: Callable[..., Any], changed: Callable[..., Any]
) -> None:
    model = tmp_path / "before" / "model.mft"
    model.parent.mkdir()
    model.touch()
    for written, meant in (("before", str(model)), ("7net-0", "7net-0")):
        config = load(tmp_path, changed("ft", pretrained=written))
        assert config.pretrained == meant


def test_relative_paths_start_at_the_file(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    load: Callable[..., Any],
    changed: Callable[..., Any],
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


def test_paths_of_branches_start_at_the_file(
    tmp_path: Path, load: Callable[..., Any], changed: Callable[..., Any]
) -> None:
    config = load(tmp_path, changed("pretrain"))
    assert config.branches["alloys"].data == [tmp_path / "b.db"]


@pytest.mark.parametrize("head", ["crystals", "molecules"])
@pytest.mark.parametrize("strategy", ["mft", "ft", "lp"])
def test_name_of_several_models_becomes_one_for_all_that_is_derived(
    tmp_path: Path,
    head: str,
    strategy: Any,
    load: Callable[..., Any],
    changed: Callable[..., Any],
) -> None:
    document = changed("mft", pretrained="mft-mini")
    document["auxiliary"] = {**document["auxiliary"], "head": head}
    config = derive_config(load(tmp_path, document), strategy)
    assert config.pretrained == f"mft-mini-{head}"


def test_registered_name_is_no_path(
    tmp_path: Path, load: Callable[..., Any], changed: Callable[..., Any]
) -> None:
    assert load(tmp_path, changed("lp")).pretrained == "mft-mini-crystals"


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


@pytest.mark.parametrize("strategy", CLASSES)
def test_frozen(
    tmp_path: Path, strategy: str, load: Callable[..., Any], changed: Callable[..., Any]
) -> None:
    config = load(tmp_path, changed(strategy))
    with pytest.raises(ValidationError, match="frozen"):
        config.name = "other"
    with pytest.raises(ValidationError, match="frozen"):
        config.training.steps = 1
