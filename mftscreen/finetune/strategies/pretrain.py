"""``strategy: pretrain``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, model_validator

from mftscreen.finetune.config.blocks import (
    BranchConfig,
    DescriptorConfig,
    ForceFieldLoss,
    TrainingConfig,
)
from mftscreen.finetune.config.fields import BranchName
from mftscreen.finetune.strategies.plan import ForceField, Plan, Strategy
from mftscreen.model.backbones.dpa3.size import DPA3Size

__all__ = ["PretrainConfig"]


class PretrainConfig(Strategy):
    """Several force-field data sets over one descriptor (Eqs. 1-4)."""

    strategy: Literal["pretrain"]
    name: str
    description: str = ""
    licence: str = ""
    branches: dict[BranchName, BranchConfig] = Field(min_length=1)
    """Head name to data set."""
    probabilities: dict[str, PositiveFloat] = Field(default_factory=dict)
    """Head name to share of training steps; equal by default."""
    energy_head: str
    """Head that calculators use."""
    descriptor: DescriptorConfig = DPA3Size()
    loss: ForceFieldLoss = ForceFieldLoss()
    training: TrainingConfig

    @model_validator(mode="after")
    def _known_branches(self) -> PretrainConfig:
        for name in [self.energy_head, *self.probabilities]:
            if name not in self.branches:
                heads = ", ".join(self.branches)
                msg = f"{name!r} is not a head; 'branches' has {heads}"
                raise ValueError(msg)
        return self

    @property
    def plan(self) -> Plan:
        """Train a new descriptor with a head for each data set, and no property."""
        weights = {name: self.probabilities.get(name, 1.0) for name in self.branches}
        total = sum(weights.values())
        return Plan(
            force_fields={
                name: ForceField(
                    data=branch,
                    loss=self.loss,
                    batch_size=self.training.batch_size,
                    share=weights[name] / total,
                )
                for name, branch in self.branches.items()
            },
            seed=self.training.seed,
            training=self.training,
            energy_head=self.energy_head,
            descriptor=self.descriptor,
        )
