"""Models that are compared by name, and what the folders of trainings say of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ase import Atoms

from mftscreen.errors import ConfigError
from mftscreen.finetune.config.read import load_config
from mftscreen.finetune.outcome.collapse import collapse_parts, large_enough
from mftscreen.finetune.run.run import CONFIG
from mftscreen.finetune.strategies import TuneConfig
from mftscreen.finetune.strategies.plan import Plan
from mftscreen.finetune.task.task import load_rows
from mftscreen.model.files.registry import (
    MODEL,
    is_model_name,
    resolve_model,
    trained_model,
)

__all__ = [
    "ComparedModel",
    "Models",
    "common_pretrained",
    "common_parts",
    "name_models",
]

PRETRAINED = "pretrained"

Models = str | Path | Sequence[str | Path] | Mapping[str, str | Path]


@dataclass(frozen=True)
class ComparedModel:
    """A model by the name that tables and plots give it.

    Attributes
    ----------
    name : str
    source : str or Path
        Name of a registered model, model file, or folder of ``mftscreen finetune``.
    """

    name: str
    source: str | Path

    @property
    def folder(self) -> Path | None:
        """The folder of its training, if that is what it was given by."""
        if is_model_name(self.source):
            return None
        if (path := trained_model(self.source)) is not None:
            return path.parent
        folder = Path(self.source)
        return folder if folder.is_dir() else None

    @property
    def model(self) -> str | Path:
        """What :func:`mftscreen.load_model` takes; an error if a folder has none."""
        return self.source if self.folder is None else resolve_model(self.source)[0]

    @cached_property
    def config(self) -> TuneConfig | None:
        """What it was trained with, if its folder says so."""
        folder = self.folder
        if folder is None or not (folder / CONFIG).exists():
            return None
        return load_config(folder / CONFIG)


def name_models(models: Models) -> list[ComparedModel]:
    """Return models with the names of their files or folders, or their own.

    Parameters
    ----------
    models : str, Path, sequence or mapping
        With a mapping, from names to models.

    Raises
    ------
    ConfigError
        If there is none, something is neither a name nor a path, two have the same
        name, or one is called ``pretrained``.
    """
    if isinstance(models, Mapping):
        pairs = [(str(name), each) for name, each in models.items()]
    else:
        alone = isinstance(models, str | Path) or not isinstance(models, Iterable)
        several: Any = [models] if alone else models
        pairs = [("", each) for each in several]
    for _, each in pairs:
        if not isinstance(each, str | Path):
            kind = type(each).__name__
            raise ConfigError([f"model: a name, file or folder is needed, not {kind}"])
    named = [ComparedModel(name or _name(each), each) for name, each in pairs]
    names = [each.name for each in named]
    problems = [
        f"model: {name!r} names several; give them names, NAME=MODEL"
        for name, count in Counter(names).items()
        if count > 1
    ]
    if not names:
        problems.append("model: none is given")
    if PRETRAINED in names:
        problems.append(f"model: {PRETRAINED!r} is the one that they are compared with")
    if problems:
        raise ConfigError(problems)
    return named


def _name(source: str | Path) -> str:
    path = Path(source)
    if path.name == MODEL and path.parent.name:
        return path.parent.name
    if path.is_dir():
        return path.resolve().name
    return path.stem if path.suffix in (".mft", ".pt", ".pth") else str(source)


def common_pretrained(models: Sequence[ComparedModel]) -> str:
    """Return what models were trained from, as their folders say.

    Raises
    ------
    ConfigError
        If no folder names one, or they differ. A training from scratch names none, and
        may be compared with what the others were made of.
    """
    plans = {each.name: each.config.plan for each in models if each.config is not None}
    found = {name: plan.pretrained for name, plan in plans.items() if plan.pretrained}
    if len(set(found.values())) == 1:
        return next(iter(found.values()))
    if found:
        each_from = ", ".join(f"{name} from {source}" for name, source in found.items())
        problem = f"against: models were made of different ones ({each_from}); name one"
    else:
        problem = (
            "against: known only for folders of 'mftscreen finetune' whose training "
            "started from a pretrained model; name one (--against)"
        )
    raise ConfigError([problem])


def common_parts(models: Sequence[ComparedModel]) -> dict[str, Sequence[Atoms]]:
    """Return the data that all models were trained and tested on, by part.

    Parameters
    ----------
    models : sequence of ComparedModel

    Returns
    -------
    dict of str to sequence of Atoms
        See :func:`mftscreen.finetune.outcome.collapse.collapse_parts`; those that are
        large enough, and the same rows for all models: with other seeds, or for a
        kernel, other rows validate, and only tests are left.

    Raises
    ------
    ConfigError
        If no folder names data of properties, folders name different ones, or no part
        of them is the same.
    DataError
        If the data cannot be read any more.
    """
    trainings = {
        each.name: each.config
        for each in models
        if each.config is not None and each.config.plan.data is not None
    }
    if not trainings:
        problem = (
            "data: known only for folders of 'mftscreen finetune' whose training was "
            "on properties; give names and "
            'what they stand for, as {"train": "train.extxyz"} (--data)'
        )
        raise ConfigError([problem])
    first, *others = trainings
    for other in others:
        if trainings[other].plan.data != trainings[first].plan.data:
            problem = f"data: {other!r} and {first!r} have different ones; name some"
            raise ConfigError([problem])
    plans = {_division(each.plan): each.plan for each in trainings.values()}
    loaded = [load_rows(plan) for plan in plans.values()]
    ids = [
        {part: [row.id for row in data.by_property(part)] for part in data.rows}
        for data in loaded
    ]
    parts = {
        part: structures
        for part, structures in collapse_parts(loaded[0], None).items()
        if all(each.get(part) == ids[0][part] for each in ids)
    }
    if not parts:
        problem = (
            f"data: {', '.join(trainings)} were divided in different ways, and have no "
            "test; name some (--data)"
        )
        raise ConfigError([problem])
    return large_enough(parts)


def _division(plan: Plan) -> tuple[object, ...]:
    """Return what decides, beside the data, which rows a model was trained on."""
    sources = tuple(p.label_source(name) for name, p in plan.properties.items())
    return (plan.seed, plan.trains, sources)
