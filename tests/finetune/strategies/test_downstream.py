from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from mftscreen.finetune.config.auxiliary import AuxiliaryConfig
from mftscreen.finetune.strategies import Plan
from mftscreen.finetune.strategies.downstream import FromPretrained
from mftscreen.finetune.strategies.plan import ForceField
from mftscreen.finetune.task.deepmd_input import (
    PreparedData,
    Pretrained,
    build_deepmd_input,
)


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
            auxiliaries={self.auxiliary.head: self.auxiliary},
            energy_head="oxides",
            freezes_descriptor=True,
        )


def test_another_strategy_needs_no_other_module() -> None:
    config: Any = BothConfig.model_validate(
        {
            "strategy": "both",
            "name": "tiny",
            "preset": "matbench",
            "properties": {"gap": {"unit": "eV"}, "volume": {}},
            "data": {"train": ["train.extxyz"]},
            "pretrained": "backbone.pt",
            "auxiliary": {"head": "oxides", "data": ["ff.extxyz"]},
            "training": {"steps": 10, "batch_size": 32},
        }
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
