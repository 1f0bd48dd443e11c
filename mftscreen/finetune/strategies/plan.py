"""What the steps of a training ask a strategy, and the class that answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, TypeAlias

from mftscreen.finetune.config.auxiliary import AuxiliaryConfig
from mftscreen.finetune.config.blocks import (
    BranchConfig,
    DataConfig,
    ForceFieldLoss,
    TrainingConfig,
)
from mftscreen.finetune.config.fields import Settings
from mftscreen.finetune.config.property_config import PropertyConfig
from mftscreen.model.backbones.sizes import DescriptorSize

__all__ = ["ForceField", "Plan", "Readout", "Strategy"]

Readout: TypeAlias = Literal["neural", "kernel", "best"]
"""What turns descriptors into properties."""


@dataclass(frozen=True, kw_only=True)
class ForceField:
    """A head that is trained on energies, forces and stress.

    Attributes
    ----------
    data : BranchConfig
    loss : ForceFieldLoss
    batch_size : int
        Atoms per batch.
    share : float
        Probability of a step to be one of its own.
    weight : float
        Multiplies the prefactors of its loss.
    source : str or None
        The other head that starts from the same pretrained one and comes before, if
        there is one.
    """

    data: BranchConfig
    loss: ForceFieldLoss
    batch_size: int
    share: float
    weight: float = 1.0
    source: str | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a training does, whatever its strategy is called.

    Attributes
    ----------
    properties : mapping of str to PropertyConfig
        By head; all of them start from random weights unless `transfers_properties`.
    data : DataConfig or None
        Their rows, if there are properties.
    seed : int
        Of all that is drawn at random.
    training : TrainingConfig or None
        How the network is trained; None if it is not: kernels are fitted to the
        pretrained one, whose force field stays.
    readout : {"neural", "kernel", "best"}
        What predicts the properties in the end.
    force_fields : mapping of str to ForceField
        By head.
    auxiliaries : mapping of str to AuxiliaryConfig
        The force fields that are there for the properties' sake, by head: their frames
        are chosen beside those of the properties, their losses balanced with theirs.
    energy_head : str or None
        The force field that calculators use.
    pretrained : str or None
        Model that gives the descriptor and the type map.
    beside : sequence of str
        Models that give nothing but descriptors, which kernels read beside that of
        `pretrained`.
    descriptor : DescriptorSize or None
        Size of the descriptor where no model gives it.
    elements : sequence of str or None
        Type map where no model gives it; None for the elements of the data.
    transfers : bool
        Whether the weights of the pretrained descriptor are taken over, or its size.
    transfers_head, transfers_properties : bool
        Whether those of the force field's head are, and those of the properties' heads.
    freezes_descriptor : bool
        Whether only heads are trained.
    """

    properties: Mapping[str, PropertyConfig] = field(default_factory=dict)
    data: DataConfig | None = None
    seed: int = 1
    training: TrainingConfig | None = None
    readout: Readout = "neural"
    force_fields: Mapping[str, ForceField] = field(default_factory=dict)
    auxiliaries: Mapping[str, AuxiliaryConfig] = field(default_factory=dict)
    energy_head: str | None = None
    pretrained: str | None = None
    beside: Sequence[str] = ()
    descriptor: DescriptorSize | None = None
    elements: Sequence[str] | None = None
    transfers: bool = False
    transfers_head: bool = False
    transfers_properties: bool = False
    freezes_descriptor: bool = False

    @property
    def sources(self) -> dict[str, str]:
        """Force-field heads that are taken over: the names to have, and to look for."""
        return {
            name: task.head
            for name, task in self.auxiliaries.items()
            if self.force_fields[name].source is None
        }

    @property
    def joins(self) -> bool:
        """Whether every step has the losses of all heads."""
        return any(task.combine == "joint" for task in self.auxiliaries.values())

    @property
    def trains(self) -> bool:
        """Whether a network is trained at all."""
        return self.training is not None


class Strategy(Settings):
    """A configuration whose settings are those of one strategy."""

    compares_first: ClassVar[bool] = False
    """Whether it is the best of the others that is trained, once that is known."""

    @property
    def plan(self) -> Plan:
        """What a training by this configuration does."""
        raise NotImplementedError

    @property
    def as_mft(self) -> Strategy | None:
        """The settings of ``mft`` that others are derived from, if it has them all."""
        return None
