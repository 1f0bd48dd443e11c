"""Training configurations: YAML in, one frozen pydantic model per strategy out."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from mftscreen.errors import ConfigError
from mftscreen.properties import PropertySpec

__all__ = [
    "AuxiliaryConfig",
    "BranchConfig",
    "DataConfig",
    "DescriptorConfig",
    "FTConfig",
    "ForceFieldLoss",
    "LPConfig",
    "MFTConfig",
    "PretrainConfig",
    "PropertyLoss",
    "ScratchConfig",
    "TrainingConfig",
    "TuneConfig",
    "load_config",
]


class _Config(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True
    )


class DescriptorConfig(_Config):
    """Size of a DPA3 descriptor that is trained from random weights."""

    n_layers: PositiveInt = 3
    """Message-passing layers."""
    n_dim: PositiveInt = 64
    """Width of the atomic (node) representation."""
    e_dim: PositiveInt = 32
    """Width of the edge representation."""
    a_dim: PositiveInt = 16
    """Width of the angle representation."""
    edge_cutoff: PositiveFloat = 5.0
    """Å."""
    angle_cutoff: PositiveFloat = 3.5
    """Å."""
    edge_scale: PositiveFloat = 11.0
    """Number of neighbours that sums over edges are divided by."""
    angle_scale: PositiveFloat = 3.6
    """Number of neighbours that sums over angles are divided by."""
    update_residual: PositiveFloat = 0.5
    """Initial weight of each layer's update."""


class ForceFieldLoss(_Config):
    """Prefactors at the start and at the end of the learning-rate schedule."""

    kind: Literal["mse", "mae"] = "mse"
    """Squared errors as in the paper, or absolute ones (norm of the force error)."""
    energy: tuple[NonNegativeFloat, NonNegativeFloat] = (0.2, 20.0)
    force: tuple[NonNegativeFloat, NonNegativeFloat] = (100.0, 60.0)
    virial: tuple[NonNegativeFloat, NonNegativeFloat] = (0.02, 1.0)


class PropertyLoss(_Config):
    """Loss of the property head."""

    kind: Literal["mse", "mae", "smooth_mae"] = "smooth_mae"
    """The paper: mse for QM9, smooth_mae for MatBench (Table 8)."""


def _check_test_names(tests: dict[str, Path]) -> dict[str, Path]:
    taken = {"train", "validation", "training_set", "n_train"} & tests.keys()
    if taken:
        msg = f"a test set cannot be called {', '.join(sorted(taken))}"
        raise ValueError(msg)
    return tests


Tests = Annotated[dict[str, Path], AfterValidator(_check_test_names)]


class DataConfig(_Config):
    """Labelled structures of the downstream task."""

    train: list[Path] = Field(min_length=1)
    """extxyz, ase.db, CSV or MatBench json.gz; relative to the configuration file."""
    validation: list[Path] | None = None
    """If not given, `validation_fraction` of the training rows is set aside."""
    test: Tests = Field(default_factory=dict)
    """Name to file; errors are written to the model's card."""
    column: str
    """Name of the label in the files."""
    description: str = ""
    """What the labels are; copied to the model's card."""
    validation_fraction: Annotated[float, Field(gt=0, lt=0.5)] = 0.05


class BranchConfig(_Config):
    """A force-field data set."""

    data: list[Path] = Field(min_length=1)
    """extxyz or ase.db with energy, forces and, for crystals, stress."""
    description: str = ""
    """What the labels are; copied to the model's card."""
    validation_fraction: Annotated[float, Field(gt=0, lt=0.5)] = 0.02
    group: str | None = None
    """Key in ``info``: frames with one value stay on one side of the split."""
    test: Tests = Field(default_factory=dict)
    """Name to file, never trained on; force errors are written to the model's card."""


class AuxiliaryConfig(BranchConfig):
    """The force-field task that is trained beside the property (Eq. 10)."""

    head: str
    """Force-field head of the pretrained model to go on training."""
    aux_prob: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Share of training steps that are spent on this task."""
    lambda_reg: PositiveFloat = 1.0
    """Weight of this task's loss (Eq. 11); multiplies its prefactors."""
    loss: ForceFieldLoss = ForceFieldLoss()
    batch_size: PositiveInt = 128
    """Atoms per batch (deepmd's ``auto:N``)."""


class TrainingConfig(_Config):
    """How long and how fast to train."""

    steps: PositiveInt
    batch_size: PositiveInt = 512
    """Atoms per batch (deepmd's ``auto:N``)."""
    learning_rate: tuple[PositiveFloat, PositiveFloat] = (1e-3, 1e-5)
    """First and last value of the exponential schedule."""
    gradient_max_norm: PositiveFloat = 5.0
    save_every: PositiveInt = 500
    """Steps between checkpoints; each is validated when training has ended."""
    seed: int = 1


class _Downstream(_Config):
    name: str
    """Name of the model on its card."""
    description: str = ""
    licence: str = ""
    property: PropertySpec
    distinguish_types: bool = True
    """Per-element least-squares bias (Eq. 17). Set to false where a test set may hold
    elements that the training set does not (the paper's dielectric rule)."""
    data: DataConfig
    loss: PropertyLoss = PropertyLoss()
    training: TrainingConfig


class _FromPretrained(_Downstream):
    pretrained: str
    """A registered name, a ``.mft`` file or a deepmd-kit ``.pt`` checkpoint."""

    @property
    def pretrained_head(self) -> str | None:
        """Head of the pretrained model to take the descriptor from, if it matters."""
        return None


class ScratchConfig(_Downstream):
    """Random weights, property labels only (Eq. 7)."""

    strategy: Literal["scratch"]
    descriptor: DescriptorConfig = DescriptorConfig()
    elements: list[str] | None = None
    """Type map; by default the elements of the training data."""


class FTConfig(_FromPretrained):
    """Pretrained descriptor, random head, all weights updated (Eq. 9)."""

    strategy: Literal["ft"]


class LPConfig(_FromPretrained):
    """Pretrained descriptor, frozen; only the random head is updated (Eq. 8)."""

    strategy: Literal["lp"]


class MFTConfig(_FromPretrained):
    """Property and force field trained together (Eqs. 10-12)."""

    strategy: Literal["mft"]
    auxiliary: AuxiliaryConfig

    @model_validator(mode="after")
    def _distinct_heads(self) -> MFTConfig:
        if self.auxiliary.head == self.property.name:
            msg = f"the property and the auxiliary head are both {self.property.name!r}"
            raise ValueError(msg)
        return self


class PretrainConfig(_Config):
    """Several force-field data sets over one descriptor (Eqs. 1-4)."""

    strategy: Literal["pretrain"]
    name: str
    description: str = ""
    licence: str = ""
    branches: dict[str, BranchConfig] = Field(min_length=1)
    """Head name to data set."""
    probabilities: dict[str, PositiveFloat] = Field(default_factory=dict)
    """Share of training steps per branch; equal by default."""
    energy_head: str
    """Branch that calculators use."""
    descriptor: DescriptorConfig = DescriptorConfig()
    loss: ForceFieldLoss = ForceFieldLoss()
    training: TrainingConfig

    @model_validator(mode="after")
    def _known_branches(self) -> PretrainConfig:
        for name in [self.energy_head, *self.probabilities]:
            if name not in self.branches:
                msg = f"{name!r} is not a branch; branches: {', '.join(self.branches)}"
                raise ValueError(msg)
        return self


TuneConfig = Annotated[
    ScratchConfig | FTConfig | LPConfig | MFTConfig | PretrainConfig,
    Field(discriminator="strategy"),
]

_ADAPTER: TypeAdapter[Any] = TypeAdapter(TuneConfig)
_VARIANTS: dict[str, type[_Config]] = {
    "scratch": ScratchConfig,
    "ft": FTConfig,
    "lp": LPConfig,
    "mft": MFTConfig,
    "pretrain": PretrainConfig,
}


def load_config(path: Path) -> TuneConfig:
    """Read a configuration; relative paths in it start at its own folder.

    Parameters
    ----------
    path : Path
        A YAML file.

    Returns
    -------
    ScratchConfig, FTConfig, LPConfig, MFTConfig or PretrainConfig
        By its ``strategy``.

    Raises
    ------
    ConfigError
        With every problem at once, and the closest valid key for an unknown one.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError([str(error.strerror)], path=path) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"not UTF-8 text: {error}"], path=path) from error
    except yaml.YAMLError as error:
        raise ConfigError([f"not YAML: {error}"], path=path) from error
    if not isinstance(document, dict):
        raise ConfigError(["a mapping of keys to values is expected"], path=path)
    try:
        config = _ADAPTER.validate_python(document)
    except ValidationError as error:
        problems = [_explain(dict(e)) for e in error.errors()]
        raise ConfigError(problems, path=path) from error
    resolved: TuneConfig = _resolve_paths(config, path.parent.resolve())
    return resolved


def _explain(error: dict[str, Any]) -> str:
    location = [str(part) for part in error["loc"]]
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
