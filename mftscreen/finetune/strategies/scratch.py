"""``strategy: scratch``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mftscreen.finetune.config.fields import Element
from mftscreen.finetune.strategies.downstream import Trained
from mftscreen.finetune.strategies.plan import Plan
from mftscreen.model.backbones.dpa3.size import DPA3Size
from mftscreen.model.backbones.sizes import DescriptorSize

__all__ = ["ScratchConfig"]


class ScratchConfig(Trained):
    """Random weights, property labels only (Eq. 7)."""

    strategy: Literal["scratch"]
    """Which strategy the configuration is of."""
    descriptor: DescriptorSize = DPA3Size()
    """Kind and size of the descriptor."""
    elements: Annotated[list[Element], Field(min_length=1)] | None = None
    """Type map; by default the elements of the training data."""

    @property
    def plan(self) -> Plan:
        """Train a new descriptor with random heads."""
        return Plan(
            properties=self.properties,
            data=self.data,
            seed=self.training.seed,
            training=self.training,
            readout=self.readout,
            descriptor=self.descriptor,
            elements=self.elements,
        )
