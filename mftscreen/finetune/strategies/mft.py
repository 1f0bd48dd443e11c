"""``strategy: mft``, and what the choice among all strategies has in common with it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Literal

from pydantic import model_validator

from mftscreen.finetune.config.auxiliary import (
    Auxiliaries,
    AuxiliaryConfig,
    shares_of,
)
from mftscreen.finetune.strategies.downstream import FromPretrained
from mftscreen.finetune.strategies.plan import ForceField, Plan

__all__ = ["MFTConfig", "Multitask"]


class Multitask(FromPretrained):
    """Settings of a training on properties beside a force field."""

    auxiliary: Auxiliaries
    """The force field that is trained beside the properties, or a list of several."""
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
        tasks = _as_list(self.auxiliary)
        names = [task.branch for task in tasks]
        if taken := sorted(self.properties.keys() & set(names)):
            msg = f"a property and the auxiliary head are both {taken[0]!r}"
            raise ValueError(msg)
        if twice := [name for name, n in Counter(names).items() if n > 1]:
            msg = (
                f"auxiliary: two heads are called {twice[0]!r}; give one of them "
                "another 'name'"
            )
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _one_way_to_combine(self) -> Multitask:
        tasks = _as_list(self.auxiliary)
        if len({task.combine for task in tasks}) > 1:
            msg = "auxiliary: 'combine' is to be the same for all auxiliary heads"
            raise ValueError(msg)
        shares_of(tasks)  # raises
        return self

    @property
    def auxiliaries(self) -> dict[str, AuxiliaryConfig]:
        """The auxiliary tasks by head; calculators use the first one's energy."""
        return {task.branch: task for task in _as_list(self.auxiliary)}

    @property
    def downstream_share(self) -> float:
        """Share of the steps that have downstream batches."""
        tasks = _as_list(self.auxiliary)
        if tasks[0].combine == "joint":
            return 1.0
        return 1.0 - sum(shares_of(tasks).values())

    @property
    def plan(self) -> Plan:
        """Train the pretrained force fields on, beside the random heads."""
        tasks = self.auxiliaries
        shares = shares_of(list(tasks.values()))
        first: dict[str, str] = {}
        for name, task in tasks.items():
            first.setdefault(task.head, name)
        force_fields = {
            name: ForceField(
                data=task,
                loss=task.loss,
                batch_size=task.batch_size,
                # the trainer adds it to every joint step, which is one of a property
                share=0.0 if task.combine == "joint" else shares[name],
                # the trainer multiplies a weight that it has to measure first
                weight=1.0 if task.lambda_reg == "auto" else task.lambda_reg,
                source=None if first[task.head] == name else first[task.head],
            )
            for name, task in tasks.items()
        }
        return replace(
            super().plan,
            force_fields=force_fields,
            auxiliaries=tasks,
            energy_head=next(iter(tasks)),
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
        heads = Counter(task.head for task in self.auxiliaries.values())
        if several := [head for head, n in heads.items() if n > 1]:
            msg = (
                "transfer_properties: true takes over heads as they are; several "
                f"auxiliary heads start from {several[0]!r}"
            )
            raise ValueError(msg)
        for name, settings in self.properties.items():
            fitted = {
                "standardise": "transform: standardise",
                "logistic": "kind: class",
            }
            if what := fitted.get(settings.transform_kind):
                msg = (
                    "transfer_properties: true takes over heads as they are; "
                    f"{name} has {what}, whose scale would be fitted anew"
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


def _as_list(
    auxiliary: AuxiliaryConfig | list[AuxiliaryConfig],
) -> list[AuxiliaryConfig]:
    return auxiliary if isinstance(auxiliary, list) else [auxiliary]
