"""``strategy: mft``, and what the choice among all strategies has in common with it."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from pydantic import model_validator

from mftscreen.finetune.config.blocks import AuxiliaryConfig
from mftscreen.finetune.strategies.downstream import FromPretrained
from mftscreen.finetune.strategies.plan import ForceField, Plan

__all__ = ["MFTConfig", "Multitask"]


class Multitask(FromPretrained):
    """Settings of a training on properties beside a force field."""

    auxiliary: AuxiliaryConfig
    """The force-field task beside the properties."""
    transfer_head: bool = True
    """Whether the auxiliary head starts from its pretrained weights; if not, from
    random ones (the ablations of Fig. 3(d))."""
    transfer_backbone: bool = True
    """Whether the descriptor starts from its pretrained weights; if not, it has the
    pretrained one's size and random weights, and so has the head."""

    @model_validator(mode="after")
    def _head_needs_its_backbone(self) -> Multitask:
        if self.transfer_head and not self.transfer_backbone:
            msg = (
                "transfer_backbone: false needs transfer_head: false; a pretrained "
                "head cannot read a descriptor with random weights"
            )
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _distinct_heads(self) -> Multitask:
        if self.auxiliary.head in self.properties:
            msg = f"a property and the auxiliary head are both {self.auxiliary.head!r}"
            raise ValueError(msg)
        return self

    @property
    def plan(self) -> Plan:
        """Train the pretrained force field on, beside the random heads."""
        auxiliary = self.auxiliary
        force_field = ForceField(
            data=auxiliary,
            loss=auxiliary.loss,
            batch_size=auxiliary.batch_size,
            # the trainer adds it to every joint step, which is one of a property
            share=0.0 if auxiliary.combine == "joint" else auxiliary.share,
            # the trainer multiplies a weight that it has to measure first
            weight=1.0 if auxiliary.lambda_reg == "auto" else auxiliary.lambda_reg,
        )
        return replace(
            super().plan,
            force_fields={auxiliary.head: force_field},
            auxiliary=auxiliary,
            energy_head=auxiliary.head,
            transfers=self.transfer_backbone,
            transfers_head=self.transfer_head,
        )

    @property
    def as_mft(self) -> MFTConfig:
        """The same settings for ``mft``, from which those of the others are derived."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return MFTConfig(**{**values, "strategy": "mft"})


class MFTConfig(Multitask):
    """Property and force field trained together (Eqs. 10-12)."""

    strategy: Literal["mft"]
    """Which strategy the configuration is of."""
    transfer_properties: bool = False
    """Whether the heads of the properties, too, start from those of the pretrained
    model, their biases of elements included: a training that goes on. The model has
    them in the same form, with the same unit and transform. Rows that were held out
    before are held out again if `data` names them, or if their ids, the seed and
    `validation_fraction` are the same; so are frames of the same `group`. (The shipped
    models held other rows out.) A ``.pt`` does not say what its heads' units are."""

    @model_validator(mode="after")
    def _goes_on(self) -> MFTConfig:
        if not self.transfer_properties:
            return self
        if not self.transfer_head:
            msg = "transfer_properties: true needs transfer_head: true"
            raise ValueError(msg)
        for name, settings in self.properties.items():
            if settings.transform == "standardise":
                msg = (
                    "transfer_properties: true takes over heads as they are; "
                    f"{name} has transform: standardise, which would be fitted anew"
                )
                raise ValueError(msg)
        return self

    @property
    def plan(self) -> Plan:
        """Train the heads of the properties on, too, if they are to be taken over."""
        return replace(super().plan, transfers_properties=self.transfer_properties)

    @property
    def as_mft(self) -> MFTConfig:
        """The same settings."""
        return self
