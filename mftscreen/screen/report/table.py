"""The table of a report: its columns, and what is said once above it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mftscreen.properties import PropertySpec
from mftscreen.screen.order.goals import Goal
from mftscreen.screen.order.rank_options import RankOptions
from mftscreen.screen.result.columns import result_columns

__all__ = ["as_json", "build_columns", "describe_goals", "describe_rows"]

Record = Mapping[str, Any]

_ALWAYS = ("rank", "id", "formula", "trust")
"""Columns that stay even if all rows have the same value."""

_LATE = re.compile(
    "(fast_|relax_|duplicate_of|descriptor_|status|model).*|.*_no_interval"
)
"""Columns that come after the note."""


def as_json(value: Any) -> Any:
    """Return a value as JSON knows it; a number that is not finite becomes None."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Mapping):
        return {str(key): as_json(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(entry) for entry in value]
    if isinstance(value, float):
        return float(f"{value:.7g}") if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int) else str(value)


def build_columns(
    names: Sequence[str],
    records: Sequence[Record],
    properties: Sequence[PropertySpec],
    options: RankOptions,
) -> list[dict[str, Any]]:
    """Return the columns of a page, in their order.

    Parameters
    ----------
    names : sequence of str
        Columns of `records`.
    records : sequence of mapping
        One per candidate.
    properties : sequence of PropertySpec
    options : RankOptions

    Returns
    -------
    list of dict
        ``name``; ``title``; ``label``, what it holds; ``kind``, how it is filtered and
        written: number, flag, text, formula, interval or empty; ``values``, and of
        intervals also ``highs``; ``shared``, whether all rows with predictions have
        the same; ``minor``, whether a narrow screen has no room for it; and how it is
        sorted first: ``sign``, -1 for the highest first, and ``centre``, the distance
        from which counts. Properties also have the ``half_width`` of their target, and
        ``aim``, whether some allowed values are better than others. The two ends of
        intervals are one column, units stand in titles, and the flag ``ood`` is what
        ``trust`` tells.
    """
    units = {spec.name: spec.unit for spec in properties}
    labels = {spec.name: spec.label for spec in properties}
    declared = {column.name: column for column in result_columns(units)}
    merged = {f"{name}_{end}" for name in units for end in ("low", "high", "unit")}
    columns = []
    for name in sorted(names, key=lambda name: bool(_LATE.fullmatch(name))):
        if name in merged or name == "ood":
            continue
        column = _column(name, records)
        known = declared.get(name)
        column["title"] = (known and known.title) or name
        column["label"] = labels.get(name) or (known and known.label) or name
        if name in options.goals:
            column |= _first_sorting(options.goals[name])
        columns.append(column)
        if f"{name}_low" in names and name in units:
            columns.append(_interval(name, records, options))
    first = {"rank", "formula", "trust", *units}
    if len(units) == 1:
        first |= {f"{name}_interval" for name in units}
    return [column | {"minor": column["name"] not in first} for column in columns]


def describe_goals(
    properties: Sequence[PropertySpec], options: RankOptions
) -> list[str]:
    """Return for each property what it is and which values are good."""
    return [
        f"{spec.name}: {spec.label}"
        + ("" if spec.unit == "1" else f" in {spec.unit}")
        + (f"; {_good(options.goals[spec.name])}" if spec.name in options.goals else "")
        for spec in properties
    ]


def describe_rows(columns: Sequence[Mapping[str, Any]]) -> str:
    """Return what is the same in all rows; empty if nothing is."""
    same = []
    for column in columns:
        if column["shared"]:
            value = next(v for v in column["values"] if v is not None)
            text = {True: "yes", False: "no"}.get(value, value)
            same.append(f"{column['title']} {text}")
    return f"The same in all rows: {', '.join(same)}." if same else ""


def _column(name: str, records: Sequence[Record]) -> dict[str, Any]:
    values = [as_json(record.get(name)) for record in records]
    values = [None if value == "" else value for value in values]
    kinds = {type(value) for value in values} - {type(None)}
    if not kinds:
        kind = "empty"
    elif kinds == {bool}:
        kind = "flag"
    elif kinds <= {int, float}:
        kind = "number"
    else:
        kind = "formula" if name == "formula" else "text"
        values = [None if value is None else str(value) for value in values]
    predicted = {
        value
        for value, record in zip(values, records, strict=True)
        if value is not None or record["status"] == "ok"
    }
    shared = name not in _ALWAYS and len(records) > 1 and len(predicted) == 1
    return {
        "name": name,
        "kind": kind,
        "values": values,
        "shared": shared and kind in ("flag", "text"),
        # a high p-value is what one looks for
        "sign": -1 if name.endswith("_p_value") else 1,
        "centre": None,
    }


def _interval(
    name: str, records: Sequence[Record], options: RankOptions
) -> dict[str, Any]:
    lows, highs = (
        [as_json(record.get(f"{name}_{end}")) for record in records]
        for end in ("low", "high")
    )
    share = f"{100 * options.coverage:g} %"
    return {
        "name": f"{name}_interval",
        "title": f"{share} interval",
        "label": f"is to hold the true {name} in {share} of cases",
        "kind": "interval",
        "values": lows,
        "highs": highs,
        "shared": False,
    } | _first_sorting(options.goals[name])


def _first_sorting(goal: Goal) -> dict[str, Any]:
    found: dict[str, Any] = {"sign": -1 if goal.kind == "maximize" else 1}
    found |= {"centre": None, "half_width": None, "aim": goal.kind != "bound"}
    if goal.target is not None:
        target = goal.target
        low, high = target if isinstance(target, tuple) else (target, target)
        found |= {"centre": (low + high) / 2.0, "half_width": (high - low) / 2.0}
    return found


def _good(goal: Goal) -> str:
    texts = {
        "maximize": ["the higher the better"],
        "minimize": ["the lower the better"],
    }.get(goal.kind, [])
    if isinstance(goal.target, tuple):
        low, high = goal.target
        texts.append(f"wanted from {low:g} to {high:g}")
    elif goal.target is not None:
        texts.append(f"wanted close to {goal.target:g}")
    if goal.at_least > -math.inf:
        texts.append(f"at least {goal.at_least:g}")
    if goal.at_most < math.inf:
        texts.append(f"at most {goal.at_most:g}")
    return ", ".join(texts)
