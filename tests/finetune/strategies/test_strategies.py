from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import click
import pytest

from mftscreen.cli import main
from mftscreen.finetune.config.blocks import AuxiliaryConfig
from mftscreen.finetune.outcome.collapse import starting_model
from mftscreen.finetune.strategies import COMPARABLE, STRATEGIES, Plan
from mftscreen.finetune.strategies.downstream import FromPretrained
from mftscreen.finetune.strategies.mft import Multitask
from mftscreen.finetune.strategies.plan import ForceField
from mftscreen.finetune.task.bias import settle_bias
from mftscreen.finetune.task.deepmd_input import (
    PreparedData,
    Pretrained,
    build_deepmd_input,
)

DOWNSTREAM = {
    "name": "tiny",
    "properties": {"gap": {"unit": "eV"}, "volume": {}},
    "data": {"train": ["train.extxyz"]},
    "training": {"steps": 10, "batch_size": 32},
}
PRETRAINED = {**DOWNSTREAM, "pretrained": "backbone.pt"}
MULTITASK = {**PRETRAINED, "auxiliary": {"head": "oxides", "data": ["ff.extxyz"]}}
SETTINGS: dict[str, dict[str, Any]] = {
    "scratch": {**DOWNSTREAM, "descriptor": {"n_layers": 2}, "elements": ["Si"]},
    "ft": PRETRAINED,
    "lp": PRETRAINED,
    "mft": MULTITASK,
    "auto": MULTITASK,
    "pretrain": {
        "name": "backbone",
        "branches": {"oxides": {"data": ["a.extxyz"]}, "alloys": {"data": ["b.db"]}},
        "probabilities": {"oxides": 3.0},
        "energy_head": "alloys",
        "training": {"steps": 10, "batch_size": 32},
    },
}


def configure(strategy: str, **settings: object) -> Any:
    document = {"strategy": strategy, **SETTINGS[strategy], **settings}
    return STRATEGIES[strategy].model_validate(document)


def plan_of(strategy: str, **settings: object) -> Plan:
    plan: Plan = configure(strategy, **settings).plan
    return plan


def test_each_strategy_is_the_module_of_its_name() -> None:
    assert list(COMPARABLE) == ["scratch", "ft", "lp", "mft"]
    assert list(STRATEGIES) == [*COMPARABLE, "auto", "pretrain"]
    for name, config in STRATEGIES.items():
        assert config.__module__ == f"mftscreen.finetune.strategies.{name}"
        assert configure(name).strategy == name


def test_the_command_knows_them() -> None:
    command = main.get_command(click.Context(main), "finetune")
    assert command is not None
    options = {option.name: option for option in command.params}
    assert list(options["strategy"].type.choices) == [*COMPARABLE, "auto"]
    assert options["compare"].help.endswith(f": {','.join(COMPARABLE)}.")


def test_single_task_strategies_train_no_force_field() -> None:
    scratch, ft = configure("scratch"), configure("ft")
    assert scratch.plan == Plan(
        properties=scratch.properties,
        data=scratch.data,
        descriptor=scratch.descriptor,
        elements=["Si"],
    )
    assert ft.plan == Plan(
        properties=ft.properties,
        data=ft.data,
        pretrained="backbone.pt",
        transfers=True,
    )
    assert plan_of("lp") == replace(ft.plan, freezes_descriptor=True)


def test_mft_trains_a_force_field_beside_the_properties() -> None:
    auxiliary = configure("mft").auxiliary
    assert plan_of("mft") == replace(
        plan_of("ft"),
        force_fields={
            "oxides": ForceField(
                data=auxiliary, loss=auxiliary.loss, batch_size=128, share=0.5
            )
        },
        auxiliary=auxiliary,
        energy_head="oxides",
        transfers_head=True,
    )


@pytest.mark.parametrize(
    ("settings", "share", "weight"),
    [
        ({"aux_prob": 0.2, "lambda_reg": 0.5}, 0.2, 0.5),
        ({"lambda_reg": "auto"}, 0.5, 1.0),
        ({"combine": "joint", "lambda_reg": 0.1}, 0.0, 0.1),
    ],
)
def test_share_and_weight_of_the_auxiliary_force_field(
    settings: dict[str, Any], share: float, weight: float
) -> None:
    auxiliary = {**MULTITASK["auxiliary"], **settings}
    force_field = plan_of("mft", auxiliary=auxiliary).force_fields["oxides"]
    assert (force_field.share, force_field.weight) == (share, weight)


def test_what_mft_takes_over() -> None:
    def taken_over(**settings: bool) -> tuple[bool, bool, bool]:
        plan = plan_of("mft", **settings)
        return plan.transfers, plan.transfers_head, plan.transfers_properties

    assert taken_over(transfer_head=False) == (True, False, False)
    nothing = {"transfer_head": False, "transfer_backbone": False}
    assert taken_over(**nothing) == (False, False, False)
    assert taken_over(transfer_properties=True) == (True, True, True)
    assert starting_model(configure("mft")) == "backbone.pt"
    assert starting_model(configure("mft", **nothing)) is None
    assert starting_model(configure("scratch")) is None


def test_pretraining_has_a_force_field_for_each_data_set() -> None:
    config = configure("pretrain")
    plan = config.plan
    assert plan == Plan(
        force_fields=plan.force_fields,
        energy_head="alloys",
        descriptor=config.descriptor,
    )
    assert {h: f.share for h, f in plan.force_fields.items()} == {
        "oxides": 0.75,
        "alloys": 0.25,
    }
    for head, force_field in plan.force_fields.items():
        assert force_field.data is config.branches[head]
        assert (force_field.loss, force_field.batch_size) == (config.loss, 32)
        assert force_field.weight == 1.0
    assert settle_bias(config, {}) is config


def test_auto_compares_and_has_the_settings_of_all() -> None:
    auto = configure("auto")
    assert auto.as_mft == configure("mft")
    assert auto.plan == auto.as_mft.plan
    assert [n for n, c in STRATEGIES.items() if c.compares_first] == ["auto"]
    assert configure("mft").as_mft == configure("mft")
    multitask = [n for n, c in STRATEGIES.items() if issubclass(c, Multitask)]
    assert multitask == ["mft", "auto"]


class BothConfig(FromPretrained):
    """A strategy that nobody has heard of: a frozen descriptor, two random heads."""

    strategy: Literal["both"]
    auxiliary: AuxiliaryConfig

    @property
    def plan(self) -> Plan:
        force_field = ForceField(
            data=self.auxiliary, loss=self.auxiliary.loss, batch_size=16, share=0.25
        )
        return replace(
            super().plan,
            force_fields={"oxides": force_field},
            auxiliary=self.auxiliary,
            energy_head="oxides",
            freezes_descriptor=True,
        )


def test_another_strategy_needs_no_other_module() -> None:
    config: Any = BothConfig.model_validate(
        {"strategy": "both", **MULTITASK, "preset": "matbench"}
    )
    assert config.training.gradient_max_norm == 5.0
    assert config.auxiliary.loss.energy == (0.2, 20.0)
    net = {"type": "ener", "neuron": [8], "dim_case_embd": 4}
    pretrained = Pretrained(["H"], {"type": "dpa3", "repflow": {}}, {"oxides": net})
    heads = ("gap", "volume", "oxides")
    data = {head: PreparedData([head], [head]) for head in heads}
    document = build_deepmd_input(config, data, ["H"], (9, 4), pretrained)
    assert document["model"]["shared_dict"]["descriptor"]["trainable"] is False
    models = document["model"]["model_dict"]
    assert {m["finetune_head"] for m in models.values()} == {"RANDOM"}
    assert {m["fitting_net"]["dim_case_embd"] for m in models.values()} == {4}
    shares = document["training"]["model_prob"]
    assert shares == {"oxides": 0.25, "gap": 0.375, "volume": 0.375}
