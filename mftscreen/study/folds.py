"""The splits of a study, each made once and kept in its folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from mftscreen.data.dataset import LabelledStructure
from mftscreen.data.label_source import LabelSource
from mftscreen.data.sources import read_labelled
from mftscreen.errors import ConfigError, DataError
from mftscreen.finetune.compare.folds import largest_folds
from mftscreen.finetune.strategies import MFTConfig
from mftscreen.finetune.task.partition import find_fold
from mftscreen.jobs.split import foreign_options, split
from mftscreen.ood.splits import Split, SplitData
from mftscreen.study.config import SplitSettings
from mftscreen.study.fingerprint import file_digest

__all__ = ["SharedRows", "choose_names", "prepare_split"]


class SharedRows:
    """Rows of files that several tasks divide, read once for all their labels.

    Parameters
    ----------
    configs : iterable of MFTConfig
        The tasks.
    """

    def __init__(self, configs: Iterable[MFTConfig]) -> None:
        self._labels: dict[Path, dict[str, LabelSource]] = {}
        for config in configs:
            label = _label(config)
            for data in config.data.train:
                if isinstance(data, Path):
                    self._labels.setdefault(data, {})[label.name] = label
        self._read = cache(self._rows)

    def of(self, data: Path, label: LabelSource) -> SplitData | Path:
        """Return the rows of a file with one of the labels.

        Parameters
        ----------
        data : Path
        label : LabelSource

        Returns
        -------
        SplitData or Path
            The file itself where it is of one task, or where not every row has the
            label: what is wrong is to be told by who reads it for that alone.
        """
        shared = self._labels.get(data, {})
        if len(shared) < 2 or shared.get(label.name) != label:
            return data
        rows = self._read(data)
        if not rows or any(label.name not in row.labels for row in rows):
            return data
        try:
            return SplitData(
                [row.id for row in rows],
                [row.atoms for row in rows],
                [float(row.labels[label.name].flat[0]) for row in rows],
            )
        except DataError:
            return data

    def _rows(self, data: Path) -> list[LabelledStructure]:
        try:
            return list(read_labelled(data, *self._labels[data].values()))
        except DataError:
            return []


def prepare_split(
    settings: SplitSettings,
    config: MFTConfig,
    folder: Path,
    stem: str,
    shared: SharedRows | None = None,
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
    shared : SharedRows, optional
        Rows that other tasks have, too.

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
        rows = shared.of(data, label) if shared and not published else data
        split(rows, label, method=method, output=path, **options)
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
