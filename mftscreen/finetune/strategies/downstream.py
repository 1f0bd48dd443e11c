"""What strategies that train on properties have in common."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from mftscreen.finetune.config.blocks import DataConfig, TrainingConfig
from mftscreen.finetune.config.fields import PretrainedModel, PropertyName
from mftscreen.finetune.config.presets import Preset, apply_preset
from mftscreen.finetune.config.property_config import PropertyConfig
from mftscreen.finetune.strategies.plan import Plan, Readout, Strategy
from mftscreen.model.files.registry import member_for
from mftscreen.properties import check_property_name

__all__ = ["Downstream", "FromPretrained", "Trained", "name_the_model"]


class Downstream(Strategy):
    """Settings of every strategy that trains on properties."""

    name: str
    """Name of the model on its card."""
    description: str = ""
    """What the model is for; copied to its card."""
    licence: str = ""
    """Of the model; copied to its card."""
    preset: Preset | None = None
    """Take what is not given from a column of Table 8 (QM9 or MatBench)."""
    properties: dict[PropertyName, PropertyConfig] = Field(min_length=1)
    """Name to property, or to one with components; each has a head of its own on the
    shared descriptor. Steps are shared out equally among them; a step on one of several
    with labels of the same rows is one on all of these."""
    data: DataConfig
    """The labelled structures."""

    @model_validator(mode="after")
    def _distinct_properties(self) -> Downstream:
        """Check the names of components, which make names of properties with that."""
        owners: dict[str, str] = {}
        for target, settings in self.properties.items():
            names = settings.property_names(target)
            for name in dict.fromkeys([target, *names]):
                check_property_name(name)
                if name in owners:
                    msg = f"{name!r} is of both {owners[name]!r} and {target!r}"
                    raise ValueError(msg)
                owners[name] = target
        return self

    @model_validator(mode="before")
    @classmethod
    def _apply_preset(cls, document: Any) -> Any:
        if not isinstance(document, dict):
            return document
        return apply_preset(document, cls.model_fields)


class Trained(Downstream):
    """Settings of those that train a network."""

    training: TrainingConfig
    """How long and how fast to train."""
    readout: Readout = "neural"
    """``kernel``: when the network is trained, kernels are fitted to its descriptor,
    and predict in place of the properties' heads, which stay in the file; ``best``:
    where they err less on the validation rows. Beyond the paper."""


class FromPretrained(Trained):
    """Settings of those that start from a pretrained model."""

    pretrained: PretrainedModel
    """A registered name, a ``.mft`` file or a deepmd-kit ``.pt`` checkpoint.
    ``mft-mini`` means the model for the auxiliary head's kind of structure, or else for
    crystals."""

    @model_validator(mode="before")
    @classmethod
    def _name_the_model(cls, document: Any) -> Any:
        return name_the_model(document)

    @property
    def plan(self) -> Plan:
        """Take the descriptor's weights over and train them with random heads."""
        return Plan(
            properties=self.properties,
            data=self.data,
            seed=self.training.seed,
            training=self.training,
            readout=self.readout,
            pretrained=self.pretrained,
            transfers=True,
        )


def name_the_model(document: Any) -> Any:
    """Let whatever is derived from a configuration start from the same model."""
    pretrained = document.get("pretrained") if isinstance(document, dict) else None
    if not isinstance(pretrained, str | list | tuple):
        return document
    auxiliary = document.get("auxiliary")
    if isinstance(auxiliary, list) and auxiliary:
        auxiliary = auxiliary[0]
    head = auxiliary.get("head") if isinstance(auxiliary, dict) else None
    if isinstance(pretrained, str):
        return {**document, "pretrained": member_for(pretrained, head)}
    named = [member_for(p, head) if isinstance(p, str) else p for p in pretrained]
    return {**document, "pretrained": named}
