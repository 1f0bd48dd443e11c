"""Published numbers to stand beside, with their sources."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from mftscreen.errors import ConfigError
from mftscreen.suggestions import did_you_mean

__all__ = ["PublishedTable", "PublishedValue", "load_published", "published_tables"]

_KEYS = ("split", "test", "task", "model")


@dataclass(frozen=True)
class PublishedValue:
    """One number of a table.

    Attributes
    ----------
    model, task, split, test : str
        Those of the task and the split are ours; `test` is ``id``, ``ood`` or, for
        drifts, ``train``.
    value : float
        In the unit of the task.
    spread : float or None
        What stands in brackets after it.
    """

    model: str
    task: str
    split: str
    test: str
    value: float
    spread: float | None = None


@dataclass(frozen=True)
class PublishedTable:
    """A table of a publication.

    Attributes
    ----------
    name : str
        As a study names it.
    source : str
        Publication and place in it.
    caption : str
    metric : str
        ``mae``, ``rmse`` or ``w1``.
    units : mapping of str to str
        By task.
    strategies : mapping of str to str
        Strategy to the model of the table that was trained by it.
    values : tuple of PublishedValue
    """

    name: str
    source: str
    caption: str
    metric: str
    units: Mapping[str, str]
    strategies: Mapping[str, str]
    values: tuple[PublishedValue, ...]

    def is_in(self, task: str, unit: str) -> bool:
        """Return whether numbers of a task are in a unit; drifts have none."""
        return self.metric == "w1" or self.units.get(task) == unit

    def find(self, task: str, split: str, test: str) -> dict[str, PublishedValue]:
        """Return the numbers of a task, a split and a test, by model."""
        key = (task, split, test)
        return {v.model: v for v in self.values if (v.task, v.split, v.test) == key}


def published_tables() -> list[str]:
    """Return the names of all tables."""
    return list(_document()["tables"])


def load_published(name: str) -> PublishedTable:
    """Return a table.

    Parameters
    ----------
    name : str

    Raises
    ------
    ConfigError
        If there is no such table.

    Examples
    --------
    >>> table = load_published("table_4")
    >>> table.find("dielectric", "loco", "ood")["DPA3-MFT"].value
    0.469
    >>> table.source
    'arXiv:2601.08486, Table 4'
    """
    tables = _document()["tables"]
    if name not in tables:
        problem = f"no table {name!r}; there are {', '.join(tables)}"
        problem += did_you_mean(name, known=tables)
        raise ConfigError([problem])
    table = tables[name]
    spreads = {(v.model, v.task, v.test): v.value for v in _values(table, "spreads")}
    values = tuple(
        PublishedValue(
            v.model, v.task, v.split, v.test, v.value,
            spreads.get((v.model, v.task, v.test)),
        )
        for v in _values(table, "values")
    )  # fmt: skip
    return PublishedTable(
        name,
        f"{_document()['source']['identifier']}, {table['place']}",
        table["caption"],
        table["metric"],
        table["units"],
        table["strategies"],
        values,
    )


@cache
def _document() -> Any:
    text = files("mftscreen.study").joinpath("published.yaml").read_text("utf-8")
    return yaml.safe_load(text)


def _values(table: Mapping[str, Any], key: str) -> Iterator[PublishedValue]:
    """Yield the numbers of a table in the file, whose columns are models or tasks."""
    for row in csv.DictReader(io.StringIO(table.get(key, ""))):
        known = {name: row.pop(name) for name in _KEYS if name in row}
        known.setdefault("split", table.get("split", ""))
        for column, text in row.items():
            found: dict[str, Any] = {**known, table["columns"]: column}
            yield PublishedValue(**found, value=float(text))
