"""Names of labels, compared with what the data have, before anything is trained."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from mftscreen.data.label_source import LabelSource
from mftscreen.data.readers import iter_rows
from mftscreen.errors import DataError
from mftscreen.finetune.strategies import TuneConfig
from mftscreen.suggestions import did_you_mean

__all__ = ["find_unknown_labels"]


def find_unknown_labels(config: TuneConfig) -> list[str]:
    """Return what is wrong with the names of labels, by the files that are there.

    Parameters
    ----------
    config : TuneConfig

    Returns
    -------
    list of str
        A line for each file that has none of the labels, or cannot be read, and for
        each property that no training file has a label of. A file is read no further
        than to the first labels of all properties.
    """
    plan = config.plan
    if plan.data is None:
        return []
    sources = [p.label_source(name) for name, p in plan.properties.items()]
    parts = {
        "train": plan.data.train,
        "validation": plan.data.validation or [],
        **{f"test.{name}": [path] for name, path in plan.data.test.items()},
    }
    problems: list[str] = []
    in_training: list[Collection[str]] = []
    for part, files in parts.items():
        for path in files:
            if not (isinstance(path, Path) and path.exists()):
                continue
            try:
                found = _columns(path, sources)
            except DataError as error:
                problems.append(f"data.{part}: {error}")
                continue
            if part == "train":
                in_training.append(found)
            if not any(column in found for s in sources for column in s.columns):
                problems.append(f"data.{part}: {path}: {_missing(sources, found)}")
    # a file that is not there, or is wrong itself, may be the one that has them
    if not problems and len(in_training) == len(plan.data.train):
        there = dict.fromkeys(column for found in in_training for column in found)
        problems += [
            f"properties.{source.name}: {_missing([source], there)}"
            for source in sources
            if not all(column in there for column in source.columns)
        ]
    return problems


def _columns(path: Path, sources: Sequence[LabelSource]) -> Mapping[str, None]:
    """Return the columns of a file, as far as it has to be read for all labels."""
    wanted = {column for source in sources for column in source.columns}
    found: dict[str, None] = {}
    for row in iter_rows(path):
        found |= dict.fromkeys(row.values)
        if wanted <= found.keys():
            break
    return found


def _missing(sources: Sequence[LabelSource], found: Collection[str]) -> str:
    columns = [c for s in sources for c in s.columns if c not in found]
    wanted, there = " or ".join(map(repr, columns)), ", ".join(found) or "nothing"
    hint = did_you_mean(*columns, known=found)
    return f"no label {wanted}; there is {there}{hint}"
