"""The splits of a study, each made once and kept in its folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mftscreen.data.label_source import LabelSource
from mftscreen.errors import ConfigError
from mftscreen.finetune.compare.folds import largest_folds
from mftscreen.finetune.strategies import MFTConfig
from mftscreen.finetune.task.partition import find_fold
from mftscreen.jobs.split import foreign_options, split
from mftscreen.ood.splits import Split
from mftscreen.study.config import SplitSettings
from mftscreen.study.fingerprint import file_digest

__all__ = ["choose_names", "prepare_split"]


def prepare_split(
    settings: SplitSettings, config: MFTConfig, folder: Path, stem: str
) -> Path:
    """Return the file of a split, made unless it is there already.

    Parameters
    ----------
    settings : SplitSettings
    config : MFTConfig
        The task, whose training rows are divided.
    folder : Path
        For the file, the name of which tells what it was made of.
    stem : str
        Of the name.

    Returns
    -------
    Path

    Raises
    ------
    ConfigError
        If the method has no such option, or the task has several files of rows.
    DataError
        If there is no such method, or the rows cannot be read or divided.
    """
    if settings.file is not None:
        return settings.file
    method, published = str(settings.method), settings.published is not None
    if foreign := foreign_options(method, settings.options, published=published):
        names = ", ".join(sorted(foreign))
        problem = f"splits: options: {names}: method {method} has no such option"
        raise ConfigError([problem])
    label, (data, *more) = _label(config), config.data.train
    if more or not isinstance(data, Path):
        problem = "data.train: a task of a study has one file of rows"
        raise ConfigError([problem])
    origin = {
        "method": settings.method,
        "options": settings.options,
        # published folds are found by the name of the file that they are of
        "published": settings.published
        and [file_digest(settings.published), data.name],
        "data": file_digest(data),
        "column": label.columns[0],
    }
    digest = hashlib.sha256(json.dumps(origin, sort_keys=True).encode()).hexdigest()
    path = folder / f"{stem}-{digest[:12]}.json"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        options: dict[str, Any] = {"omee": settings.published, **settings.options}
        split(data, label, method=method, output=path, **options)
    return path


def choose_names(
    made: Split, wanted: int | Sequence[str] | None, path: Path
) -> list[str]:
    """Return the names of folds: the largest ones, those named, or all.

    Parameters
    ----------
    made : Split
    wanted : int, sequence of str or None
    path : Path
        Where the split was read from; for messages.

    Raises
    ------
    DataError
        If there is no such fold, or there are fewer.
    """
    if wanted is None:
        return [fold.name for fold in made.folds]
    if isinstance(wanted, int):
        return largest_folds(made, wanted, path)
    return [find_fold(made, name, path).name for name in wanted]


def _label(config: MFTConfig) -> LabelSource:
    name, first = next(iter(config.properties.items()))
    return first.label_source(name)
