"""Configurations of studies: grids of trainings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

from mftscreen.errors import ConfigError
from mftscreen.finetune.config.document import parse_yaml, read_document
from mftscreen.finetune.config.fields import (
    BranchName,
    PretrainedModels,
    Seed,
    Settings,
)
from mftscreen.finetune.config.read import explain_problem, resolve_paths
from mftscreen.finetune.strategies import COMPARABLE
from mftscreen.ood.splits import OMEE_METHODS
from mftscreen.study.published import load_published
from mftscreen.suggestions import did_you_mean

__all__ = [
    "BackboneConfig",
    "GridConfig",
    "SplitSettings",
    "StudyConfig",
    "load_study",
]


def _check_name(name: str) -> str:
    # a folder's name is made of it
    if not re.fullmatch(r"[\w+-]+", name):
        msg = f"{name!r} is not made of letters, digits, underscores and dashes"
        raise ValueError(msg)
    return name


def _check_strategy(name: str) -> str:
    if name not in COMPARABLE:
        msg = f"{name!r} is not one of {', '.join(COMPARABLE)}"
        msg += did_you_mean(name, known=COMPARABLE)
        raise ValueError(msg)
    return name


Name = Annotated[str, AfterValidator(_check_name)]
StrategyName = Annotated[str, AfterValidator(_check_strategy)]
Share = Annotated[float, Field(gt=0, le=1)]
FoldName = Annotated[str, Field(coerce_numbers_to_str=True)]
FoldNames = Annotated[list[FoldName], Field(min_length=1)]
FoldCount = Annotated[int, Field(gt=0, strict=True)]
Chosen = Annotated[list[Name], Field(min_length=1)]


class SplitSettings(Settings):
    """How the rows of every task are divided."""

    method: str | None = None
    """One of ``mftscreen split``; ``random`` makes MatBench's own five folds."""
    published: Path | None = None
    """File with the published folds of `method` (Omee et al.) in place of new ones."""
    options: dict[str, int | float | str] = Field(default_factory=dict)
    """Those of `method`, with the names that they have on the command line."""
    file: Path | None = None
    """What ``mftscreen split`` wrote, in place of `method`; of the rows of one task."""
    id_share: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    """Share of a fold's training rows that are the ID test where the fold has none of
    its own; by default none, as in the paper."""

    @model_validator(mode="after")
    def _one_origin(self) -> SplitSettings:
        if (self.method is None) == (self.file is None):
            msg = "either 'method' or 'file' says what the folds are"
            raise ValueError(msg)
        if self.published is None:
            return self
        if self.method not in OMEE_METHODS or self.options:
            known = ", ".join(OMEE_METHODS)
            msg = f"published folds are of method: {known}, and have no options"
            raise ValueError(msg)
        return self


class BackboneConfig(Settings):
    """What to start from, in place of what the configurations of the tasks name."""

    pretrained: PretrainedModels
    """A registered name, a ``.mft`` file or a deepmd-kit ``.pt`` checkpoint; several
    side by side for kernels, and then for grids of ``strategies: [kernel]``."""
    head: BranchName | None = None
    """Its force-field head that MFT goes on training, if not that of the task."""


class GridConfig(Settings):
    """Every combination of these is trained."""

    strategies: list[StrategyName] = Field(min_length=1)
    """As ``strategy`` of a training; not ``auto`` and ``pretrain``."""
    tasks: Chosen | None = None
    """Of those of the study; all by default, as for `splits`, `backbones` and
    `variants`."""
    splits: Chosen | None = None
    """Likewise."""
    backbones: Chosen | None = None
    """Likewise."""
    variants: Chosen | None = None
    """Likewise."""
    folds: FoldCount | FoldNames | None = None
    """That many, those with the most test rows, or these; all by default."""
    train_shares: list[Share] = Field(default=[1.0], min_length=1)
    """Shares of each fold's training and validation rows; a smaller one is part of a
    larger one."""
    train_seeds: list[Seed] = Field(default=[0], min_length=1)
    """Of which rows a share below 1 is."""
    seeds: list[Seed] = Field(default=[1], min_length=1)
    """Of the trainings."""

    @field_validator("folds", mode="wrap")
    @classmethod
    def _number_or_names(cls, value: Any, check: ValidatorFunctionWrapHandler) -> Any:
        try:
            return check(value)
        except ValidationError:  # which has a problem for each of the two
            msg = f"a number from 1 or a list of names is needed, not {value!r}"
            raise ValueError(msg) from None


class StudyConfig(Settings):
    """Tasks, their splits, and what is trained on them."""

    name: Name
    """Of the study, in its tables."""
    description: str = ""
    """What is studied; for people."""
    tasks: dict[Name, Path] = Field(min_length=1)
    """Name to the configuration of an ``mft`` training, from which those of the other
    strategies are derived."""
    splits: dict[Name, SplitSettings] = Field(min_length=1)
    """Name to how the rows of every task are divided."""
    backbones: dict[Name, BackboneConfig] = Field(default_factory=dict)
    """Name to what to start from; by default that of each task's configuration."""
    variants: dict[Name, dict[str, Any]] = Field(default_factory=dict)
    """Name to keys that replace those of every task's configuration; within a block,
    those that are named. Such as ``{"long": {"training": {"steps": 20000}}}``; ``{}``
    is the task as it is. Rows, what is predicted, and seeds stay. Relative paths start
    at the folder of the task."""
    grids: list[GridConfig] = Field(min_length=1)
    """What is in several of them is trained once."""
    collapse_report: bool = False
    """Whether each model is compared with the pretrained one: about a minute each."""
    published: str | None = None
    """Table to show beside, such as ``table_4``; it has names of tasks and splits."""

    @field_validator("published")
    @classmethod
    def _is_there(cls, name: str | None) -> str | None:
        if name is not None:
            load_published(name)
        return name

    @model_validator(mode="after")
    def _names_are_known(self) -> StudyConfig:
        for grid in self.grids:
            for kind in ("tasks", "splits", "backbones", "variants"):
                known = getattr(self, kind)
                for name in getattr(grid, kind) or ():
                    if name not in known:
                        there = f"there are {', '.join(known)}" if known else "none"
                        msg = f"grids: {name!r} is not one of the {kind}; {there}"
                        msg += did_you_mean(name, known=known)
                        raise ValueError(msg)
            others = [s for s in grid.strategies if s != "kernel"]
            for name in self.chosen(grid, "backbones") if others else ():
                if isinstance(self.backbones[name].pretrained, list):
                    msg = (
                        f"grids: {others[0]} starts from one model, and backbone "
                        f"{name!r} is several; give kernel a grid of its own, and "
                        "name the 'backbones' of this one"
                    )
                    raise ValueError(msg)
        return self

    def chosen(self, grid: GridConfig, kind: str) -> Sequence[str]:
        """Return the names that a grid takes of ``tasks``, ``splits`` and so on.

        Parameters
        ----------
        grid : GridConfig
        kind : str
        """
        own = getattr(grid, kind)
        return list(getattr(self, kind)) if own is None else own


def load_study(path: Path) -> StudyConfig:
    """Read the configuration of a study; relative paths start at its own folder.

    Parameters
    ----------
    path : Path
        A YAML file, which may build on another one with ``base: FILE``.

    Raises
    ------
    ConfigError
        With every problem at once.
    """
    document = parse_yaml(read_document(path), path)
    if not isinstance(document, dict):
        raise ConfigError(["a mapping of keys to values is expected"], path=path)
    try:
        study = StudyConfig.model_validate(document)
    except ValidationError as error:
        problems = [explain_problem(dict(e), StudyConfig) for e in error.errors()]
        raise ConfigError(problems, path=path) from error
    resolved: Any = resolve_paths(study, path.parent.resolve())
    assert isinstance(resolved, StudyConfig)
    return resolved
