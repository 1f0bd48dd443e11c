from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mftscreen.errors import ConfigError
from mftscreen.finetune.config.derive import derive_config
from mftscreen.finetune.config.read import load_config
from mftscreen.finetune.config.recipes import find_recipes
from mftscreen.finetune.strategies import (
    FTConfig,
    LPConfig,
    MFTConfig,
    ScratchConfig,
)
from mftscreen.finetune.task.deepmd_input import PreparedData, build_deepmd_input
from mftscreen.finetune.task.pretrained import load_pretrained
from mftscreen.model.files.checkpoint import model_parameters


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


def test_scratch_of_another_kind_has_that_kind_s_size(
    mft: MFTConfig, tmp_path: Path, build_dpa4: Callable[..., bytes]
) -> None:
    path = tmp_path / "dpa4.pt"
    path.write_bytes(build_dpa4())
    derived = derive_config(mft.model_copy(update={"pretrained": str(path)}), "scratch")
    state, _ = load_pretrained(str(path))
    parameters = next(iter(model_parameters(state).values()))
    data = {"log_gvrh": PreparedData(["a"], ["b"])}
    document = build_deepmd_input(derived, data, derived.elements, (50, 1))
    made = document["model"]["shared_dict"]["descriptor"]
    said = {**parameters["descriptor"], "sel": 50, "seed": derived.training.seed}
    assert said.items() <= made.items()
    assert document["model"]["model_dict"]["log_gvrh"]["type"] == "dpa4"


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
    with pytest.raises(ConfigError, match="'sft' is not one of scratch, kernel, ft"):
        derive_config(mft, "sft")


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
