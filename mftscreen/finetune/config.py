"""Training configurations: YAML in, one frozen pydantic model per strategy out."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    Field,
    PositiveFloat,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from mftscreen.errors import ConfigError
from mftscreen.finetune.document import parse_yaml, read_document
from mftscreen.finetune.fields import BranchName, Element, PropertyName, Settings
from mftscreen.finetune.presets import Preset, apply_preset
from mftscreen.finetune.settings import (
    AuxiliaryConfig,
    BranchConfig,
    DataConfig,
    DescriptorConfig,
    ForceFieldLoss,
    PropertyConfig,
    TrainingConfig,
)
from mftscreen.model.registry import member_for

__all__ = [
    "AutoConfig",
    "FTConfig",
    "LPConfig",
    "MFTConfig",
    "PretrainConfig",
    "ScratchConfig",
    "TuneConfig",
    "load_config",
]


class _Downstream(Settings):
    name: str
    """Name of the model on its card."""
    description: str = ""
    licence: str = ""
    preset: Preset | None = None
    """Take what is not given from a column of Table 8 (QM9 or MatBench)."""
    properties: dict[PropertyName, PropertyConfig] = Field(min_length=1)
    """Name to property; each has a head of its own on the shared descriptor. Steps are
    shared out equally among them; a step on one of several with labels of the same
    rows is one on all of these."""
    data: DataConfig
    training: TrainingConfig

    @model_validator(mode="before")
    @classmethod
    def _apply_preset(cls, document: Any) -> Any:
        return apply_preset(document) if isinstance(document, dict) else document


class _FromPretrained(_Downstream):
    pretrained: str
    """A registered name, a ``.mft`` file or a deepmd-kit ``.pt`` checkpoint.
    ``mft-mini`` means the model for the auxiliary head's kind of structure, or else for
    crystals."""

    @model_validator(mode="before")
    @classmethod
    def _name_the_model(cls, document: Any) -> Any:
        """Let whatever is derived from a configuration start from the same model."""
        pretrained = document.get("pretrained") if isinstance(document, dict) else None
        if not isinstance(pretrained, str):
            return document
        auxiliary = document.get("auxiliary")
        head = auxiliary.get("head") if isinstance(auxiliary, dict) else None
        return {**document, "pretrained": member_for(pretrained, head)}

    @property
    def transfers(self) -> bool:
        """Whether weights of the pretrained model are taken over."""
        return True


class ScratchConfig(_Downstream):
    """Random weights, property labels only (Eq. 7)."""

    strategy: Literal["scratch"]
    descriptor: DescriptorConfig = DescriptorConfig()
    elements: Annotated[list[Element], Field(min_length=1)] | None = None
    """Type map; by default the elements of the training data."""

    @property
    def transfers(self) -> bool:
        """Whether weights of a pretrained model are taken over."""
        return False


class FTConfig(_FromPretrained):
    """Pretrained descriptor, random head, all weights updated (Eq. 9)."""

    strategy: Literal["ft"]


class LPConfig(_FromPretrained):
    """Pretrained descriptor, frozen; only the random head is updated (Eq. 8)."""

    strategy: Literal["lp"]


class _Multitask(_FromPretrained):
    auxiliary: AuxiliaryConfig
    transfer_head: bool = True
    """Whether the auxiliary head starts from its pretrained weights; if not, from
    random ones (the ablations of Fig. 3(d))."""
    transfer_backbone: bool = True
    """Whether the descriptor starts from its pretrained weights; if not, it has the
    pretrained one's size and random weights, and so has the head."""

    @property
    def transfers(self) -> bool:
        """Whether weights of the pretrained model are taken over."""
        return self.transfer_backbone

    @model_validator(mode="after")
    def _head_needs_its_backbone(self) -> _Multitask:
        if self.transfer_head and not self.transfer_backbone:
            msg = (
                "transfer_backbone: false needs transfer_head: false; a pretrained "
                "head cannot read a descriptor with random weights"
            )
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _distinct_heads(self) -> _Multitask:
        if self.auxiliary.head in self.properties:
            msg = f"a property and the auxiliary head are both {self.auxiliary.head!r}"
            raise ValueError(msg)
        return self


class MFTConfig(_Multitask):
    """Property and force field trained together (Eqs. 10-12)."""

    strategy: Literal["mft"]
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


class AutoConfig(_Multitask):
    """What :class:`MFTConfig` says; the strategy is the one with the least OOD error.

    ``mftscreen finetune`` compares all strategies on the split of `data`, then trains
    the best one on all rows.
    """

    strategy: Literal["auto"]

    @property
    def as_mft(self) -> MFTConfig:
        """The same settings for MFT, from which those of the others are derived."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return MFTConfig(**{**values, "strategy": "mft"})


class PretrainConfig(Settings):
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
    descriptor: DescriptorConfig = DescriptorConfig()
    loss: ForceFieldLoss = ForceFieldLoss()
    training: TrainingConfig

    @property
    def transfers(self) -> bool:
        """Whether weights of a pretrained model are taken over."""
        return False

    @model_validator(mode="after")
    def _known_branches(self) -> PretrainConfig:
        for name in [self.energy_head, *self.probabilities]:
            if name not in self.branches:
                heads = ", ".join(self.branches)
                msg = f"{name!r} is not a head; 'branches' has {heads}"
                raise ValueError(msg)
        return self


TuneConfig = Annotated[
    ScratchConfig | FTConfig | LPConfig | MFTConfig | PretrainConfig,
    Field(discriminator="strategy"),
]

_PYDANTIC = re.compile(r"\[key\]|constrained-float|(literal|list)\[.*\]")
"""What pydantic adds to a place: the name of an entry, or one type of several."""

_ADAPTER: TypeAdapter[Any] = TypeAdapter(
    Annotated[TuneConfig | AutoConfig, Field(discriminator="strategy")]
)
_VARIANTS: dict[str, type[Settings]] = {
    "scratch": ScratchConfig,
    "ft": FTConfig,
    "lp": LPConfig,
    "mft": MFTConfig,
    "auto": AutoConfig,
    "pretrain": PretrainConfig,
}


def load_config(path: Path) -> TuneConfig | AutoConfig:
    """Read a configuration; relative paths in it start at its own folder.

    Parameters
    ----------
    path : Path
        A YAML file, which may build on another one with ``base: FILE`` (see
        :mod:`mftscreen.finetune.document`).

    Returns
    -------
    ScratchConfig, FTConfig, LPConfig, MFTConfig, AutoConfig or PretrainConfig
        By its ``strategy``.

    Raises
    ------
    ConfigError
        With every problem at once, and the closest valid key for an unknown one.
    """
    text = read_document(path)
    document = parse_yaml(text, path)
    if not isinstance(document, dict):
        raise ConfigError(["a mapping of keys to values is expected"], path=path)
    try:
        config = _ADAPTER.validate_python(document)
    except ValidationError as error:
        problems = [_explain(dict(e)) for e in error.errors()]
        raise ConfigError(problems, path=path) from error
    resolved: TuneConfig | AutoConfig = _resolve_paths(config, path.parent.resolve())
    return resolved


def _explain(error: dict[str, Any]) -> str:
    parts = map(str, error["loc"])
    location = [part for part in parts if not _PYDANTIC.fullmatch(part)]
    if location and location[0] in _VARIANTS:
        model: Any = _VARIANTS[location[0]]
        location = location[1:]
    else:
        model = None
    where = ".".join(location)
    if error["type"] == "extra_forbidden":
        known = _fields_at(model, location[:-1])
        close = difflib.get_close_matches(location[-1], known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
        return f"{where}: unknown key; {hint}"
    if error["type"].startswith("union_tag"):
        return f"strategy: one of {', '.join(_VARIANTS)} is needed"
    return f"{where}: {error['msg']}" if where else str(error["msg"])


def _fields_at(model: Any, location: list[str]) -> list[str]:
    """Return the keys that are valid at a place in a configuration."""
    for part in location:
        if getattr(model, "__origin__", None) is dict:
            model = model.__args__[1]  # the part is a key that users choose
            continue
        field = getattr(model, "model_fields", {}).get(part)
        model = getattr(field, "annotation", None)
        if isinstance(model, UnionType):  # optional
            model = model.__args__[0]
    return sorted(getattr(model, "model_fields", {}))


def _resolve_paths(value: Any, folder: Path) -> Any:
    if isinstance(value, Path):
        return value if value.is_absolute() else folder / value
    if isinstance(value, BaseModel):
        update = {
            name: _resolve_paths(getattr(value, name), folder)
            for name in type(value).model_fields
        }
        pretrained = update.get("pretrained")
        if isinstance(pretrained, str) and pretrained.endswith((".mft", ".pt")):
            update["pretrained"] = str(_resolve_paths(Path(pretrained), folder))
        return value.model_copy(update=update)
    if isinstance(value, list):
        return [_resolve_paths(item, folder) for item in value]
    if isinstance(value, dict):
        return {key: _resolve_paths(item, folder) for key, item in value.items()}
    return value
