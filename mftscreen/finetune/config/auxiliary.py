"""The block, or the blocks, of auxiliary tasks in a configuration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import (
    Discriminator,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    Tag,
    model_validator,
)

from mftscreen.finetune.config.blocks import BranchConfig, ForceFieldLoss
from mftscreen.finetune.config.fields import BranchName, Element, Seed, Settings

__all__ = [
    "Auxiliaries",
    "AuxiliaryConfig",
    "SelfReplayConfig",
    "StreamConfig",
    "shares_of",
]


class SelfReplayConfig(Settings):
    """Auxiliary frames made of the user's structures, for want of the pretraining set.

    They are labelled by the pretrained model's own force-field head before fine-tuning
    starts. The paper has no such data: this goes beyond it.
    """

    per_structure: PositiveInt = 2
    """Frames made of each structure."""
    rattle: NonNegativeFloat = 0.1
    """Standard deviation (Å) of what is added to every coordinate."""
    strain: Annotated[float, Field(ge=0, lt=0.3)] = 0.03
    """Standard deviation of the strain of a periodic cell along its axes."""
    pool: list[Path] = Field(default_factory=list)
    """Files with further structures, beside those of the training set."""
    seed: Seed = 1
    """Of what is added."""


class StreamConfig(Settings):
    """Frames that stay in their files and are read as they are drawn.

    For sets of any size: memory does not grow with the number of frames. Filters are
    applied to what is drawn; frames that cannot be used are left out and counted, where
    without a stream they end the run.
    """

    fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Draw from this share of all frames only, chosen at random; a smaller share is
    part of a larger one."""
    limit: PositiveInt | None = None
    """Draw from at most so many frames, chosen in the same way."""
    seed: Seed = 1
    """Of which frames these are."""


class AuxiliaryConfig(BranchConfig):
    """The force-field task that is trained beside the property (Eq. 10)."""

    head: BranchName
    """Force-field head of the pretrained model to go on training; ``crystals`` and
    ``molecules`` stand for a head each of a large one that is downloaded, and for a
    model each of ``mft-mini``."""
    name: BranchName | None = None
    """What the head is called in the new model; by default as in the pretrained one.
    Several heads may start from one."""
    data: list[Path] = Field(default_factory=list)
    """extxyz, ase.db or deepmd/npy with energy, forces and, for crystals, stress; with
    `stream` also folders with ``.aselmdb``, ``.extxyz`` or deepmd/npy in them."""
    stream: StreamConfig | None = None
    """Read frames where they are as training goes on, rather than all into memory
    before; ``stream: {}`` for all of them."""
    self_replay: SelfReplayConfig | None = None
    """In place of `data`: frames labelled by the pretrained model itself."""
    elements: (
        Literal["downstream"] | Annotated[list[Element], Field(min_length=1)] | None
    ) = None
    """Keep frames of these elements only; ``downstream``: those of the training set."""
    max_atoms: PositiveInt | None = None
    """Keep frames of up to this many atoms."""
    max_force: PositiveFloat | None = None
    """Keep frames without a force beyond this (eV/Å)."""
    n_frames: PositiveInt | None = None
    """Keep this many, unlike each other: farthest points in OFM space. Frames without
    an OFM (not periodic) are drawn at random, in proportion to their number."""
    drop_test_formulas: bool = False
    """Leave out frames whose reduced formula occurs in a test set of a property (but
    ``id``), so that its compositions are new. Not for molecules: isomers share one."""
    combine: Literal["alternate", "joint"] = "alternate"
    """One task per step, drawn at random, as deepmd-kit trains; or both losses in every
    step, the sum of Eq. 11."""
    aux_prob: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Share of the steps that are spent on this task when they alternate; by default
    one half, or what others leave of it, in equal parts."""
    lambda_reg: NonNegativeFloat | Literal["auto"] = 1.0
    """Weight of this task's loss (Eq. 11); multiplies its prefactors. ``auto`` balances
    both tasks' gradients in the descriptor, measured before the first step with heads
    that have been fitted for a moment; with `self_replay` it needs ``kind: mae``."""
    loss: ForceFieldLoss = ForceFieldLoss()
    """Of energies, forces and virials."""
    batch_size: PositiveInt = 128
    """Atoms per batch (deepmd's ``auto:N``)."""

    @property
    def training_set(self) -> str:
        """What the labels are, for the model's card."""
        if self.self_replay is None:
            return self.description
        how = (
            "self-replay (beyond the paper): frames rattled by "
            f"{self.self_replay.rattle:g} Å, strained by {self.self_replay.strain:g} "
            f"and labelled by the pretrained model's own head {self.head!r}"
        )
        return f"{self.description}; {how}" if self.description else how

    @model_validator(mode="after")
    def _one_kind_of_data(self) -> AuxiliaryConfig:
        if bool(self.data) == (self.self_replay is not None):
            msg = "either 'data' or 'self_replay' says what is trained on, and not both"
            raise ValueError(msg)
        if self.self_replay is not None and self.group is not None:
            msg = (
                "'group' is for 'data'; frames of 'self_replay' stay with their parent"
            )
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _has_a_gradient_to_balance(self) -> AuxiliaryConfig:
        replayed = self.self_replay is not None and self.loss.kind == "mse"
        if self.lambda_reg == "auto" and replayed:
            msg = (
                "lambda_reg: auto finds no gradient of a squared error where the model "
                "agrees with its own labels (self_replay); take loss.kind: mae, or a "
                "number for lambda_reg"
            )
            raise ValueError(msg)
        return self

    @property
    def branch(self) -> str:
        """Name of the head in the new model."""
        return self.name or self.head

    @model_validator(mode="after")
    def _can_be_streamed(self) -> AuxiliaryConfig:
        if self.stream is None:
            return self
        if self.self_replay is not None:
            msg = "'stream' is for 'data'; frames of 'self_replay' are in memory"
            raise ValueError(msg)
        if self.n_frames is not None:
            msg = (
                "n_frames compares all frames with each other, which a stream does not "
                "hold; stream.limit takes so many at random"
            )
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _fits_combination(self) -> AuxiliaryConfig:
        if self.combine == "joint" and self.aux_prob is not None:
            msg = "aux_prob is for 'combine: alternate'; a joint step has both tasks"
            raise ValueError(msg)
        if self.combine == "alternate" and self.lambda_reg == 0:
            msg = "lambda_reg: 0 needs 'combine: joint'; its own steps would do nothing"
            raise ValueError(msg)
        return self


def _how_many(value: object) -> str:
    return "several" if isinstance(value, list | tuple) else "one"


Auxiliaries: TypeAlias = Annotated[
    Annotated[AuxiliaryConfig, Tag("one")]
    | Annotated[list[AuxiliaryConfig], Tag("several"), Field(min_length=1)],
    Discriminator(_how_many),
]
"""One auxiliary task, or a list of several."""


def shares_of(tasks: Sequence[AuxiliaryConfig]) -> dict[str, float]:
    """Return the share of the steps that each auxiliary task has when they alternate.

    Parameters
    ----------
    tasks : sequence of AuxiliaryConfig

    Returns
    -------
    dict of str to float
        By the head's name. Tasks without ``aux_prob`` have equal parts of what those
        with one leave of one half.

    Raises
    ------
    ValueError
        If nothing is left for a task, or for the properties.

    Examples
    --------
    >>> shares_of([
    ...     AuxiliaryConfig(head="a", data=["a.extxyz"], aux_prob=0.3),
    ...     AuxiliaryConfig(head="b", data=["b.extxyz"]),
    ... ])
    {'a': 0.3, 'b': 0.2}
    """
    given = {task.branch: task.aux_prob for task in tasks if task.aux_prob is not None}
    open_ = [task.branch for task in tasks if task.aux_prob is None]
    total = sum(given.values())
    if open_ and total >= 0.5:
        msg = (
            f"aux_prob: the shares that are given are {total:g} in all, which leaves "
            f"nothing of one half for {', '.join(open_)}; give each a share"
        )
        raise ValueError(msg)
    if total >= 1:
        msg = f"aux_prob: shares of {total:g} in all leave no step for the properties"
        raise ValueError(msg)
    rest = dict.fromkeys(open_, (0.5 - total) / max(1, len(open_)))
    shares = {**given, **rest}
    return {task.branch: shares[task.branch] for task in tasks}
