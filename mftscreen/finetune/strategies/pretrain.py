"""``strategy: pretrain``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, model_validator

from mftscreen.finetune.config.blocks import (
    BranchConfig,
    ForceFieldLoss,
    TrainingConfig,
)
from mftscreen.finetune.config.fields import BranchName
from mftscreen.finetune.strategies.plan import ForceField, Plan, Strategy
from mftscreen.model.backbones.dpa3.size import DPA3Size
from mftscreen.model.backbones.sizes import DescriptorSize

__all__ = ["PretrainConfig"]


class PretrainConfig(Strategy):
    """Several force-field data sets over one descriptor (Eqs. 1-4)."""

    strategy: Literal["pretrain"]
    """Which strategy the configuration is of."""
    name: str
    """Name of the model on its card."""
    description: str = ""
    """What the model is for; copied to its card."""
    licence: str = ""
    """Of the model; copied to its card."""
    branches: dict[BranchName, BranchConfig] = Field(min_length=1)
    """Head name to data set."""
    probabilities: dict[str, PositiveFloat] = Field(default_factory=dict)
    """Head name to share of training steps; equal by default."""
    energy_head: str
    """Head that calculators use."""
    descriptor: DescriptorSize = DPA3Size()
    """Kind and size of the descriptor."""
    loss: ForceFieldLoss = ForceFieldLoss()
    """Of energies, forces and virials, the same for all heads."""
    training: TrainingConfig
    """How long and how fast to train."""

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
