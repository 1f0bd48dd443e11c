"""Against golden files, whose values are those of Table 8 of arXiv:2601.08486."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter

from mftscreen.finetune.strategies import TuneConfig
from mftscreen.finetune.task.deepmd_input import (
    PreparedData,
    Pretrained,
    build_deepmd_input,
)

GOLDEN = Path(__file__).parent / "golden"
FORCE_FIELD = {
    "type": "ener", "neuron": [240, 240, 240], "activation_function": "silut:3.0",
    "dim_case_embd": 31,
}  # fmt: skip
# the parameters of DPA-3.1-3M that matter here
PRETRAINED = Pretrained(
    type_map=["H", "C", "N", "O", "F"],
    descriptor={
        "type": "dpa3",
        "repflow": {
            "n_dim": 128, "e_dim": 64, "a_dim": 32, "nlayers": 16,
            "e_rcut": 6.0, "e_rcut_smth": 5.3, "a_rcut": 4.0, "a_rcut_smth": 3.5,
            "e_sel": 1200, "a_sel": 300, "sel_reduce_factor": 10.0,
            "use_dynamic_sel": True,
        },
        "activation_function": "silut:3.0",
    },
    fitting={"SPICE2": FORCE_FIELD, "Omat24": FORCE_FIELD},
)  # fmt: skip
GAP = {"label": "HOMO-LUMO gap", "unit": "Ha"}
QM9 = {"name": "gap", "preset": "qm9", "properties": {"gap": GAP}}
DIELECTRIC = {
    "name": "dielectric",
    "preset": "matbench",
    "properties": {"dielectric": {"label": "refractive index", "bias": "global"}},
}


def _build(strategy: str, **document: Any) -> dict[str, Any]:
    document = {"strategy": strategy, "data": {"train": ["t.extxyz"]}, **document}
    pretrained = None
    if strategy != "scratch":
        document["pretrained"] = "DPA-3.1-3M.pt"
        pretrained = PRETRAINED
    if strategy == "mft":
        document["auxiliary"] = {"data": ["f.extxyz"], **document.get("auxiliary", {})}
    config = TypeAdapter(TuneConfig).validate_python(document)
    biases = dict.fromkeys([*document["properties"], "SPICE2", "Omat24"])
    biases["gap"] = [1.0, 2.0, 3.0, 4.0, 5.0]  # p(Z) of Eq. 17
    data = {
        name: PreparedData([Path(f"{name}/train")], [Path(f"{name}/validation")], bias)
        for name, bias in biases.items()
    }
    return build_deepmd_input(
        config, data, ["H", "C", "N", "O", "F"], (60, 20), pretrained
    )


@pytest.mark.parametrize("strategy", ["scratch", "ft", "lp", "mft"])
def test_settings_of_the_paper_for_the_qm9_gap(strategy: str) -> None:
    golden = yaml.safe_load((GOLDEN / f"qm9_gap_{strategy}.yaml").read_text())
    assert _build(strategy, **QM9) == golden


def test_settings_of_the_paper_for_multi_task_dielectric() -> None:
    golden = yaml.safe_load((GOLDEN / "dielectric_mft.yaml").read_text())
    assert _build("mft", **DIELECTRIC) == golden


@pytest.mark.parametrize("name", [path.stem for path in GOLDEN.glob("*.yaml")])
def test_deepmd_kit_accepts_the_golden_files(name: str) -> None:
    import deepmd.pt  # noqa: F401 - loads plugins
    from deepmd.pt.utils.multi_task import preprocess_shared_params
    from deepmd.utils.argcheck import normalize

    document = yaml.safe_load((GOLDEN / f"{name}.yaml").read_text())
    document["model"], _ = preprocess_shared_params(document["model"])
    normal = normalize(document, multi_task=True)
    assert normal["training"]["numb_steps"] == document["training"]["numb_steps"]


def test_what_is_given_wins_over_the_preset() -> None:
    document = _build(
        "mft",
        **{**QM9, "properties": {"gap": {**GAP, "loss": "mae", "neurons": [8]}}},
        training={"steps": 7},
        auxiliary={"loss": {"energy": [1, 2]}, "head": "Omat24"},
    )
    assert document["training"]["numb_steps"] == 7
    assert document["loss_dict"]["gap"]["loss_func"] == "mae"
    head = document["model"]["model_dict"]["gap"]["fitting_net"]
    assert head["neuron"] == [8]
    loss = document["loss_dict"]["Omat24"]
    assert (loss["start_pref_e"], loss["limit_pref_e"]) == (1, 2)
    assert (loss["start_pref_f"], loss["limit_pref_f"]) == (100.0, 60.0)


def test_several_properties_share_the_steps() -> None:
    properties = {
        "gap": GAP,
        "alpha": {"label": "polarizability", "head": "extensive", "bias": "global"},
    }
    document = _build("mft", **{**QM9, "properties": properties})
    assert document["training"]["model_prob"] == {
        "SPICE2": 0.5, "gap": 0.25, "alpha": 0.25,
    }  # fmt: skip
    nets = {
        name: head["fitting_net"]
        for name, head in document["model"]["model_dict"].items()
    }
    assert nets["gap"]["intensive"]
    assert nets["gap"]["distinguish_types"]
    assert not nets["alpha"]["intensive"]
    assert not nets["alpha"]["distinguish_types"]
    assert {net["dim_case_embd"] for net in nets.values()} == {31}


@pytest.mark.parametrize("kind", ["r2", "dipole_norm"])
def test_heads_for_molecules_are_a_model_type_of_their_own(kind: str) -> None:
    document = _build(
        "ft", **{**QM9, "properties": {"x": {"label": "x", "head": kind}}}
    )
    head = document["model"]["model_dict"]["x"]
    assert (head["type"], head["fitting_net"]["type"]) == ("molecular_property", kind)


DPA4 = Pretrained(
    type_map=["H", "C", "N", "O", "F"],
    descriptor={"type": "SeZM", "rcut": 6.0, "channels": 32, "sel": 256},
    fitting={"SPICE2": {"type": "dpa4_ener", "neuron": [0]}},
)


@pytest.mark.parametrize("strategy", ["ft", "lp", "mft"])
def test_another_kind_of_descriptor_has_models_of_its_own(
    strategy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import deepmd.pt  # noqa: F401 - loads plugins
    from deepmd.pt.utils.multi_task import preprocess_shared_params
    from deepmd.utils.argcheck import normalize

    monkeypatch.setitem(globals(), "PRETRAINED", DPA4)
    properties = {"gap": GAP, "x": {"label": "x", "head": "r2"}}
    document = _build(strategy, **{**QM9, "properties": properties})
    assert document["model"]["shared_dict"]["descriptor"] == {
        **DPA4.descriptor, "sel": 60, "trainable": strategy != "lp",
    }  # fmt: skip
    heads = document["model"]["model_dict"]
    types = {name: head["type"] for name, head in heads.items()}
    assert types.pop("SPICE2", "dpa4") == "dpa4"
    assert types == {"gap": "dpa4", "x": "molecular_property"}
    document["model"], _ = preprocess_shared_params(document["model"])
    normal = normalize(document, multi_task=True)
    for head in normal["model"]["model_dict"].values():
        assert head["descriptor"]["channels"] == 32


def test_a_new_backbone_has_its_kind_s_energy_head() -> None:
    document = {
        "strategy": "pretrain", "name": "m", "energy_head": "a",
        "branches": {name: {"data": ["t.extxyz"]} for name in ("a", "b")},
        "descriptor": {"type": "dpa4", "channels": 8}, "training": {"steps": 10},
    }  # fmt: skip
    config = TypeAdapter(TuneConfig).validate_python(document)
    data = dict.fromkeys(("a", "b"), PreparedData([Path("t")], [Path("v")]))
    model = build_deepmd_input(config, data, ["H"], (60, 1))["model"]
    assert model["shared_dict"]["descriptor"]["sel"] == 60
    net = model["shared_dict"]["fitting"]
    assert (net["type"], net["dim_case_embd"]) == ("dpa4_ener", 2)
    assert model["model_dict"]["b"] == {
        "type_map": "type_map", "descriptor": "descriptor",
        "fitting_net": "fitting", "type": "dpa4",
    }  # fmt: skip


def test_lambda_reg_multiplies_the_auxiliary_prefactors_only() -> None:
    plain = _build("mft", **QM9)["loss_dict"]
    scaled = _build("mft", **QM9, auxiliary={"lambda_reg": 0.01})["loss_dict"]
    assert scaled["gap"] == plain["gap"]
    for name, value in plain["SPICE2"].items():
        if name.startswith(("start", "limit")):
            assert scaled["SPICE2"][name] == pytest.approx(0.01 * value)


def test_aux_prob_sets_the_shares() -> None:
    document = _build("mft", **QM9, auxiliary={"aux_prob": 0.2})
    assert document["training"]["model_prob"] == {
        "SPICE2": 0.2, "gap": pytest.approx(0.8),
    }  # fmt: skip


def _sources(document: dict[str, Any]) -> dict[str, str | None]:
    heads = document["model"]["model_dict"]
    return {name: head.get("finetune_head") for name, head in heads.items()}


def test_joint_steps_are_those_of_the_first_property() -> None:
    document = _build(
        "mft",
        name="two",
        preset="qm9",
        properties={"gap": GAP, "homo": {"label": "HOMO", "bias": "global"}},
        auxiliary={"head": "SPICE2", "combine": "joint", "lambda_reg": 0},
    )
    assert document["training"]["model_prob"] == {
        "SPICE2": 0.0,
        "gap": 1.0,
        "homo": 0.0,
    }
    loss = document["loss_dict"]["SPICE2"]
    assert all(value == 0 for key, value in loss.items() if "_pref_" in key)


def test_weight_that_is_measured_is_not_in_the_prefactors() -> None:
    plain = _build("mft", **QM9)["loss_dict"]
    assert _build("mft", **QM9, auxiliary={"lambda_reg": "auto"})["loss_dict"] == plain


def test_ablations_start_the_auxiliary_head_at_random() -> None:
    whole = _build("mft", **QM9)
    no_head = _build("mft", **QM9, transfer_head=False)
    assert _sources(whole) == {"SPICE2": "SPICE2", "gap": "RANDOM"}
    assert _sources(no_head) == {"SPICE2": "RANDOM", "gap": "RANDOM"}
    neither = _build("mft", **QM9, transfer_head=False, transfer_backbone=False)
    assert _sources(neither) == {"SPICE2": None, "gap": None}
    assert neither["model"]["shared_dict"]["descriptor"].pop("seed") == 1
    for document in (no_head, neither):  # nothing else differs
        for head in document["model"]["model_dict"].values():
            head.pop("finetune_head", None)
    assert no_head == neither


def test_each_random_head_has_a_place_in_the_one_hot() -> None:
    properties = {f"p{k}": GAP for k in range(40)}  # more than data sets, 31
    many = {**QM9, "properties": properties, "transfer_head": False}
    for backbone, length in ((True, 31), (False, 41)):
        heads = _build("mft", **many, transfer_backbone=backbone)["model"]["model_dict"]
        nets = [head["fitting_net"] for head in heads.values()]
        assert len(nets) == 41
        assert {net["dim_case_embd"] for net in nets} == {length}


def test_padding_of_the_pretrained_descriptor_keeps_the_ratio() -> None:
    repflow = _build("ft", **QM9)["model"]["shared_dict"]["descriptor"]["repflow"]
    for name in ("e_sel", "a_sel"):
        old = PRETRAINED.descriptor["repflow"]
        assert repflow[name] / repflow["sel_reduce_factor"] == pytest.approx(
            old[name] / old["sel_reduce_factor"]
        )
    assert PRETRAINED.descriptor["repflow"]["e_sel"] == 1200


def test_what_is_not_the_papers() -> None:
    document = _build(
        "scratch",
        **QM9,
        training={"optimizer": "muon"},
        descriptor={"edge_input": "inverse_distance"},
    )
    assert document["optimizer"]["type"] == "HybridMuon"
    assert not document["optimizer"]["enable_gram"]
    repflow = document["model"]["shared_dict"]["descriptor"]["repflow"]
    assert repflow["edge_init_use_dist"] is False
    assert document["learning_rate"] == _build("scratch", **QM9)["learning_rate"]


def test_new_descriptor_has_the_scales_asked_for() -> None:
    document = _build(
        "scratch",
        **QM9,
        descriptor={"edge_scale": 11.0, "angle_scale": 3.6, "n_dim": 48},
    )
    repflow = document["model"]["shared_dict"]["descriptor"]["repflow"]
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
            "branches": {"SPICE2": {"data": ["a"]}, "Omat24": {"data": ["b"]}},
            "probabilities": {"SPICE2": 3.0},
            "energy_head": "SPICE2",
            "training": {"steps": 10},
        }
    )
    data = {name: PreparedData(["t"], ["v"]) for name in ("SPICE2", "Omat24")}
    document = build_deepmd_input(config, data, ["H"], (60, 20))
    shared = document["model"]["shared_dict"]
    assert shared["fitting"]["dim_case_embd"] == 2
    assert {h["fitting_net"] for h in document["model"]["model_dict"].values()} == {
        "fitting"
    }
    assert document["training"]["model_prob"] == {"SPICE2": 0.75, "Omat24": 0.25}
