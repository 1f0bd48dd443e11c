"""The splits of a study, each made once and kept in its folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from mftscreen.data.sources import read_labelled
from mftscreen.errors import ConfigError
from mftscreen.finetune.compare.folds import largest_folds
from mftscreen.finetune.strategies import MFTConfig
from mftscreen.finetune.task.partition import find_fold
from mftscreen.ood.ofm.featurizer import OFMFeaturizer
from mftscreen.ood.splits import (
    OFM_METHODS,
    Split,
    SplitData,
    compute_vectors,
    read_omee,
    split_function,
)
from mftscreen.study.config import SplitSettings
from mftscreen.study.fingerprint import file_digest

__all__ = ["choose_names", "prepare_split"]

_COUNTS = ("folds", "clusters", "sparse", "neighbors")
"""Options that the methods call ``n_folds`` and so on."""


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
        If the method has no such option, or published folds are to be of several files.
    DataError
        If there is no such method, or the rows cannot be read or divided.
    """
    if settings.file is not None:
        return settings.file
    column, paths = _column(config), config.data.train
    origin = {
        "method": settings.method,
        "options": settings.options,
        # published folds are found by the name of the file that they are of
        "published": settings.published
        and [file_digest(settings.published), paths[0].name],
        "data": [file_digest(path) for path in paths],
        "column": column,
    }
    digest = hashlib.sha256(json.dumps(origin, sort_keys=True).encode()).hexdigest()
    path = folder / f"{stem}-{digest[:12]}.json"
    if not path.exists():
        data = _read_rows(tuple(paths), column)
        folder.mkdir(parents=True, exist_ok=True)
        _split(settings, data, paths).write(path)
    return path


def choose_names(
    split: Split, wanted: int | Sequence[str] | None, path: Path
) -> list[str]:
    """Return the names of folds: the largest ones, those named, or all.

    Parameters
    ----------
    split : Split
    wanted : int, sequence of str or None
    path : Path
        Where the split was read from; for messages.

    Raises
    ------
    DataError
        If there is no such fold, or there are fewer.
    """
    if wanted is None:
        return [fold.name for fold in split.folds]
    if isinstance(wanted, int):
        return largest_folds(split, wanted, path)
    return [find_fold(split, name, path).name for name in wanted]


def _column(config: MFTConfig) -> str:
    name, first = next(iter(config.properties.items()))
    return first.column or name


@lru_cache(maxsize=1)
def _read_rows(paths: tuple[Path, ...], column: str) -> SplitData:
    """Return the rows of a task, which several splits divide."""
    rows = [row for path in paths for row in read_labelled(path, column)]
    return SplitData(
        [row.id for row in rows],
        [row.atoms for row in rows],
        [float(row.labels[column]) for row in rows],
    )


def _split(settings: SplitSettings, data: SplitData, paths: Sequence[Path]) -> Split:
    method = str(settings.method)
    if settings.published is not None:
        if len(paths) > 1:
            problem = "published folds are of one file, which has the name of its task"
            raise ConfigError([problem])
        task = paths[0].name.removesuffix(".gz").removesuffix(".json")
        return read_omee(settings.published, task, method, data)
    options = {
        f"n_{name}" if name in _COUNTS else name: value
        for name, value in settings.options.items()
    }
    function = split_function(method)
    try:
        if method in OFM_METHODS:
            return function(data, compute_vectors(data, OFMFeaturizer()), **options)
        return function(data, **options)
    except TypeError as error:
        problem = f"options of {method}: {error}"
        raise ConfigError([problem]) from error
