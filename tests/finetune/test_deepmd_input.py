"""Expected values are those of Table 8 of arXiv:2601.08486."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import TypeAdapter

from mftscreen.finetune.config import TuneConfig
from mftscreen.finetune.deepmd_input import (
    PreparedData,
    Pretrained,
    build_deepmd_input,
)

QM9_GAP = {
    "name": "gap",
    "property": {"name": "gap", "label": "HOMO-LUMO gap", "unit": "Ha"},
    "data": {"train": ["train.extxyz"], "column": "gap"},
    "loss": {"kind": "mse"},
    "training": {"steps": 100_000},
}
PRETRAINED = Pretrained(
    type_map=["H", "C", "N", "O"],
    descriptor={
        "type": "dpa3",
        "repflow": {
            "e_sel": 1200, "a_sel": 300, "sel_reduce_factor": 10.0,
            "use_dynamic_sel": True,
        },
    },
    fitting={
        "SPICE2": {"type": "ener", "dim_case_embd": 31},
        "OMat24": {"type": "ener", "dim_case_embd": 31},
    },
)  # fmt: skip


def _build(strategy: str, **extra: object) -> dict:
    document = {"strategy": strategy, **QM9_GAP, **extra}
    if strategy not in ("scratch", "pretrain"):
        document["pretrained"] = "DPA-3.1-3M.pt"
    config = TypeAdapter(TuneConfig).validate_python(document)
    data = {
        name: PreparedData([Path(f"{name}/train")], [Path(f"{name}/validation")])
        for name in ("gap", "SPICE2", "OMat24")
    }
    pretrained = PRETRAINED if "pretrained" in document else None
    return build_deepmd_input(config, data, ["H", "C"], (60, 20), pretrained)


AUXILIARY = {"head": "SPICE2", "data": ["spice.extxyz"]}


@pytest.mark.parametrize("strategy", ["scratch", "ft", "lp"])
def test_single_task_settings_of_the_paper(strategy: str) -> None:
    document = _build(strategy)
    assert document["learning_rate"] == {
        "type": "exp", "start_lr": 1e-3, "stop_lr": 1e-5, "decay_steps": 1000,
    }  # fmt: skip
    assert document["optimizer"] == {"type": "Adam"}
    assert document["loss"]["type"] == "property"
    assert document["loss"]["loss_func"] == "mse"
    training = document["training"]
    assert training["numb_steps"] == 100_000
    assert training["gradient_max_norm"] == 5.0
    assert training["training_data"] == {
        "systems": ["gap/train"], "batch_size": "auto:512",
    }  # fmt: skip
    fitting = document["model"]["fitting_net"]
    assert fitting["type"] == "property"
    assert fitting["activation_function"] == "tanh"
    assert fitting["intensive"] is True
    assert fitting["distinguish_types"] is True
    assert fitting["dim_case_embd"] == 0


def test_only_linear_probing_freezes_the_descriptor() -> None:
    def trainable(strategy: str) -> bool:
        return _build(strategy)["model"]["descriptor"].get("trainable", True)

    assert trainable("scratch")
    assert trainable("ft")
    assert not trainable("lp")


def test_multi_task_settings_of_the_paper() -> None:
    document = _build("mft", auxiliary=AUXILIARY)
    heads = document["model"]["model_dict"]
    assert heads["SPICE2"]["finetune_head"] == "SPICE2"
    assert heads["gap"]["finetune_head"] == "RANDOM"
    # deepmd wants one length of the one-hot for all heads
    assert heads["SPICE2"]["fitting_net"]["dim_case_embd"] == 31
    assert heads["gap"]["fitting_net"]["dim_case_embd"] == 31
    assert {head["descriptor"] for head in heads.values()} == {"descriptor"}
    assert document["training"]["model_prob"] == {"SPICE2": 0.5, "gap": 0.5}
    batches = {
        name: entry["training_data"]["batch_size"]
        for name, entry in document["training"]["data_dict"].items()
    }
    assert batches == {"SPICE2": "auto:128", "gap": "auto:512"}
    assert document["loss_dict"]["SPICE2"] == {
        "type": "ener", "loss_func": "mse",
        "start_pref_e": 0.2, "limit_pref_e": 20.0,
        "start_pref_f": 100.0, "limit_pref_f": 60.0,
        "start_pref_v": 0.02, "limit_pref_v": 1.0,
    }  # fmt: skip


def test_lambda_reg_multiplies_the_auxiliary_prefactors_only() -> None:
    plain = _build("mft", auxiliary=AUXILIARY)["loss_dict"]
    scaled = _build("mft", auxiliary={**AUXILIARY, "lambda_reg": 0.01})["loss_dict"]
    assert scaled["gap"] == plain["gap"]
    for name, value in plain["SPICE2"].items():
        if name.startswith(("start", "limit")):
            assert scaled["SPICE2"][name] == pytest.approx(0.01 * value)


def test_aux_prob_sets_the_shares() -> None:
    document = _build("mft", auxiliary={**AUXILIARY, "aux_prob": 0.2})
    assert document["training"]["model_prob"] == {
        "SPICE2": 0.2, "gap": pytest.approx(0.8),
    }  # fmt: skip


def test_padding_follows_the_data_and_keeps_the_ratio() -> None:
    repflow = _build("ft")["model"]["descriptor"]["repflow"]
    assert (repflow["e_sel"], repflow["a_sel"]) == (80, 20)
    for name in ("e_sel", "a_sel"):
        old = PRETRAINED.descriptor["repflow"]
        assert repflow[name] / repflow["sel_reduce_factor"] == pytest.approx(
            old[name] / old["sel_reduce_factor"]
        )
    assert PRETRAINED.descriptor["repflow"]["e_sel"] == 1200


def test_new_descriptor_has_the_scales_asked_for() -> None:
    document = _build(
        "scratch", descriptor={"edge_scale": 11.0, "angle_scale": 3.6, "n_dim": 48}
    )
    repflow = document["model"]["descriptor"]["repflow"]
    factor = repflow["sel_reduce_factor"]
    assert repflow["e_sel"] / factor == pytest.approx(11.0, rel=0.02)
    assert repflow["a_sel"] / factor == pytest.approx(3.6, rel=0.1)
    assert repflow["e_sel"] >= 60
    assert repflow["a_sel"] >= 20
    assert repflow["n_dim"] == 48


def test_pretraining_shares_one_fitting_net_with_a_one_hot() -> None:
    config = TypeAdapter(TuneConfig).validate_python(
        {
            "strategy": "pretrain",
            "name": "backbone",
            "branches": {"SPICE2": {"data": ["a"]}, "OMat24": {"data": ["b"]}},
            "probabilities": {"SPICE2": 3.0},
            "energy_head": "SPICE2",
            "training": {"steps": 10},
        }
    )
    data = {name: PreparedData(["t"], ["v"]) for name in ("SPICE2", "OMat24")}
    document = build_deepmd_input(config, data, ["H"], (60, 20))
    shared = document["model"]["shared_dict"]
    assert shared["fitting"]["dim_case_embd"] == 2
    assert {h["fitting_net"] for h in document["model"]["model_dict"].values()} == {
        "fitting"
    }
    assert document["training"]["model_prob"] == {"SPICE2": 0.75, "OMat24": 0.25}
