"""The folds that strategies are compared on."""

from __future__ import annotations

from pathlib import Path

from mftscreen.data.sources import read_labelled
from mftscreen.errors import ConfigError, DataError
from mftscreen.finetune.config.blocks import SplitConfig, taken_names
from mftscreen.finetune.strategies import DownstreamConfig, MFTConfig
from mftscreen.finetune.task.partition import find_fold
from mftscreen.ood.ofm.featurizer import OFMFeaturizer
from mftscreen.ood.splits import (
    OFM_METHODS,
    TARGET_METHODS,
    Split,
    SplitData,
    compute_vectors,
    split_function,
)

__all__ = [
    "choose_folds",
    "in_fold",
    "largest_folds",
    "prepare_split",
    "without_split",
]


def prepare_split(
    config: MFTConfig, source: str | None, directory: Path, *, progress: bool = False
) -> Path:
    """Return the file of the split that strategies are compared on.

    Parameters
    ----------
    config : MFTConfig
    source : str or None
        A file that ``mftscreen split`` wrote; or a method, whose split of the training
        rows is written to ``split.json`` in `directory` unless it is there already; or
        None for the split that `config` names.
    directory : Path
    progress : bool
        Whether to show progress on stderr.

    Returns
    -------
    Path

    Raises
    ------
    ConfigError
        If there is neither a source nor a split in `config`.
    DataError
        If there is no such method, or the split is one of other data.
    """
    if source is None:
        if config.data.split is None:
            problem = "data.split: a comparison needs a split; or give --split"
            raise ConfigError([problem])
        return config.data.split.file
    if source.endswith((".json", ".json.gz", ".json.xz")):
        return Path(source).resolve()
    function = split_function(source)
    rows = _rows(config, source)
    path = directory.resolve() / "split.json"
    if path.exists():
        split = Split.read(path, rows)
        if split.method != source:
            msg = f"is a split by {split.method}; --split asks for {source}"
            raise DataError(msg, path=path)
        return path
    if source in OFM_METHODS:
        vectors = compute_vectors(rows, OFMFeaturizer(), progress=progress)
        split = function(rows, vectors)
    else:
        split = function(rows)
    directory.mkdir(parents=True, exist_ok=True)
    split.write(path)
    return path


def _rows(config: MFTConfig, method: str) -> SplitData:
    sources = [p.label_source(name) for name, p in config.properties.items()]
    rows = [row for path in config.data.train for row in read_labelled(path, *sources)]
    name = sources[0].name
    lacking = [row.id for row in rows if name not in row.labels]
    if lacking and method in TARGET_METHODS:
        msg = (
            f"--split {method} divides by labels of {name!r}, the first property, and "
            f"{len(lacking)} rows have none: {', '.join(lacking[:5])}"
        )
        raise DataError(msg)
    return SplitData(
        [row.id for row in rows],
        [row.atoms for row in rows],
        # of several numbers, the first; other methods do not look at it
        [
            float(row.labels[name].flat[0]) if name in row.labels else 0.0
            for row in rows
        ],
    )


def choose_folds(split: Path, wanted: str | None, config: MFTConfig) -> list[str]:
    """Return the names of the folds to train on.

    Parameters
    ----------
    split : Path
        What :func:`prepare_split` returned.
    wanted : str or None
        A number of folds, those with the most test rows, because an error of a few rows
        says little; or names with commas between them (a single name that is a number
        ends with a comma); None for the fold that `config` names or, if it names none,
        for all.
    config : MFTConfig

    Returns
    -------
    list of str

    Raises
    ------
    DataError
        If there is no such fold, or there are fewer.
    """
    found = Split.read(split)
    folds = found.folds
    if wanted is None:
        if config.data.split is not None and config.data.split.file == split:
            return [config.data.split.fold]
        return [fold.name for fold in folds]
    if wanted.isdecimal():
        return largest_folds(found, int(wanted), split)
    names = dict.fromkeys(name.strip() for name in wanted.split(",") if name.strip())
    if not names:
        msg = f"{wanted!r} names no fold"
        raise DataError(msg, path=split)
    return [find_fold(found, name, split).name for name in names]


def largest_folds(split: Split, count: int, path: Path) -> list[str]:
    """Return the names of the folds with the most test rows.

    Parameters
    ----------
    split : Split
    count : int
        How many.
    path : Path
        Where the split was read from; for the message.

    Raises
    ------
    DataError
        If there are fewer.
    """
    if not 1 <= count <= len(split.folds):
        msg = f"{count} folds are asked for; there are {len(split.folds)}"
        raise DataError(msg, path=path)
    largest = sorted(split.folds, key=lambda fold: -len(fold.test))
    return [fold.name for fold in largest[:count]]


def without_split(config: DownstreamConfig) -> DownstreamConfig:
    """Return the configuration for training on all rows, whatever fold they test."""
    data = config.data.model_copy(update={"split": None})
    return config.model_copy(update={"data": data})


def in_fold(config: DownstreamConfig, split: Path, fold: str) -> DownstreamConfig:
    """Return the configuration for training and testing on one fold.

    Parameters
    ----------
    config : DownstreamConfig
        Its own split, if any, says how large the ID test is.
    split : Path
    fold : str

    Raises
    ------
    ConfigError
        If it has a test of its own with a name of those of a fold.
    """
    if taken := taken_names(config.data.test):
        raise ConfigError([f"data.test: {taken}"])
    own = config.data.split
    settings = SplitConfig(file=split, fold=fold)
    if own is not None:
        settings = own.model_copy(update={"file": split, "fold": fold})
    data = config.data.model_copy(update={"split": settings, "validation": None})
    return config.model_copy(update={"data": data})
