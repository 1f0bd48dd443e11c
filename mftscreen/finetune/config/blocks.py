"""The blocks that training configurations are made of."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from mftscreen.finetune.config.fields import (
    LabelledTests,
    Seed,
    Settings,
    Sources,
    Tests,
)

__all__ = [
    "BranchConfig",
    "DataConfig",
    "ForceFieldLoss",
    "SplitConfig",
    "TrainingConfig",
    "taken_names",
]


class ForceFieldLoss(Settings):
    """Prefactors at the start and at the end of the learning-rate schedule."""

    kind: Literal["mse", "mae"] = "mse"
    """Squared errors as in the paper, or absolute ones (norm of the force error)."""
    energy: tuple[NonNegativeFloat, NonNegativeFloat] = (0.2, 20.0)
    """Of the energy; 0 and 0 to leave it out."""
    force: tuple[NonNegativeFloat, NonNegativeFloat] = (100.0, 60.0)
    """Of the forces; likewise."""
    virial: tuple[NonNegativeFloat, NonNegativeFloat] = (0.02, 1.0)
    """Of the virial; likewise."""

    @model_validator(mode="after")
    def _both_or_none(self) -> ForceFieldLoss:
        for name in ("energy", "force", "virial"):
            start, end = getattr(self, name)
            if (start == 0) != (end == 0):
                msg = (
                    f"{name}: [{start:g}, {end:g}]: deepmd-kit leaves the term out if "
                    "one of both is 0; take a small number, or 0 for both"
                )
                raise ValueError(msg)
        return self


class SplitConfig(Settings):
    """A fold of a split, which divides the training rows by their ids."""

    file: Path
    """What ``mftscreen split`` wrote."""
    fold: Annotated[str, Field(coerce_numbers_to_str=True)]
    """Its test rows are the test ``ood``, its ID test rows the test ``id``."""
    id_share: Annotated[float, Field(ge=0, lt=0.5)] = 0.1
    """Share of the fold's training rows that are the test ``id`` where the fold has no
    ID test of its own; 0 to train on all of them, as in published folds."""
    train_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the fold's training and validation rows that are used, at least one of
    each: for learning curves. A smaller share is part of a larger one."""
    train_seed: Seed = 0
    """Of which rows these are."""


class DataConfig(Settings):
    """Labelled structures of the downstream task."""

    train: Sources = Field(min_length=1)
    """extxyz, ase.db, CSV, JSON (MatBench, pymatgen, OPTIMADE) or a deepmd/npy folder;
    relative to the configuration file. In Python also a DataFrame, or structures whose
    ``info`` has the labels."""
    validation: Sources | None = None
    """If not given, `validation_fraction` of the training rows is set aside."""
    test: LabelledTests = Field(default_factory=dict)
    """Name to file; errors are written to the model's card."""
    split: SplitConfig | None = None
    """Divides the rows of `train` into training, validation and test rows."""
    description: str = ""
    """What the labels are; copied to the model's card."""
    validation_fraction: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    """About this share of rows, by a hash of each id with the seed: a row that is held
    out remains so when rows are added, unless so few are there that just one is."""

    @model_validator(mode="after")
    def _split_or_files(self) -> DataConfig:
        if self.split is None:
            return self
        if self.validation is not None:
            msg = "either 'validation' or 'split' says what validates, not both"
            raise ValueError(msg)
        if taken := taken_names(self.test):
            raise ValueError(taken)
        return self


def taken_names(tests: Collection[str]) -> str:
    """Return why tests of a file cannot stand beside those of a split, or nothing.

    Parameters
    ----------
    tests : collection of str
        Their names.
    """
    taken = sorted({"id", "ood"} & set(tests))
    if not taken:
        return ""
    return f"the tests of a split are called 'id' and 'ood'; rename {taken[0]!r}"


class BranchConfig(Settings):
    """A force-field data set."""

    data: list[Path] = Field(min_length=1)
    """extxyz or ase.db with energy, forces and, for crystals, stress."""
    description: str = ""
    """What the labels are; copied to the model's card."""
    validation_fraction: Annotated[float, Field(gt=0, lt=0.5)] = 0.02
    """As for labelled structures; by `group`, if there is one, or else by a frame's id:
    in text files the name of the file and the frame's number in it."""
    group: str | None = None
    """Key in ``info``: frames with one value stay on one side of the split."""
    test: Tests = Field(default_factory=dict)
    """Name to file, never trained on; force errors are written to the model's card."""

    @property
    def training_set(self) -> str:
        """What the labels are, for the model's card."""
        return self.description


class TrainingConfig(Settings):
    """How long and how fast to train."""

    steps: PositiveInt
    """Of the optimiser, all tasks together."""
    batch_size: PositiveInt = 512
    """Atoms per batch (deepmd's ``auto:N``)."""
    learning_rate: tuple[PositiveFloat, PositiveFloat] = (1e-3, 1e-5)
    """First and last value of the exponential schedule."""
    optimizer: Literal["adam", "muon"] = "adam"
    """``adam`` as in the paper, or ``muon``, which is deepmd-kit's HybridMuon: steps of
    equal size in all directions of a weight matrix, smaller ones where gradients
    disagree with those before (Magma), a weight decay of 0.001; Adam for vectors."""
    gradient_max_norm: PositiveFloat = 5.0
    """Longer gradients are shortened to this length."""
    save_every: PositiveInt = 500
    """Steps between checkpoints; each is validated while training goes on."""
    patience: PositiveInt | None = None
    """Stop after this many validations without a better one; by default never."""
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay per step of an exponential moving average of the weights, which is then
    validated and shipped in place of the last weights."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Factor on the learning rate from the heads to the descriptor's last layer, and
    from each layer to the one below."""
    n_gpus: PositiveInt = 1
    """Processes with one GPU each, started by torchrun; each draws its own batches."""
    seed: Seed = 1
    """Of weights, batches and the rows that are held out for validation."""

    @model_validator(mode="after")
    def _rate_does_not_rise(self) -> TrainingConfig:
        first, last = self.learning_rate
        if last > first:
            msg = (
                f"learning_rate: [{first:g}, {last:g}] rises; the first value is that "
                "of the first step"
            )
            raise ValueError(msg)
        return self
