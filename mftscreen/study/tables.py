"""Tables of a study: for people, as CSV and as JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from mftscreen.console.text_table import text_table
from mftscreen.finetune.compare.verdict import Spread
from mftscreen.metrics import TITLES
from mftscreen.study.published import PublishedTable, PublishedValue
from mftscreen.study.run import Study
from mftscreen.study.summary import (
    METRICS,
    TESTS,
    W1,
    Measured,
    Summary,
    error_among,
    tasks_of_one,
)

__all__ = ["to_csv", "to_json", "to_text"]

_KEYS = ("task", "split", "fold", "strategy", "backbone", "variant")
_NUMBERS = ("train_share", "train_seed", "seed")


def to_text(
    summaries: Sequence[Summary],
    published: PublishedTable | None = None,
    metric: str = "mae",
) -> str:
    """Return a table for each task, split and property.

    Parameters
    ----------
    summaries : sequence of Summary
    published : PublishedTable, optional
        That stands beside.
    metric : {"mae", "rmse"}
        What gains are of.
    """
    groups: dict[tuple[str, str, str], list[Summary]] = {}
    for each in summaries:
        groups.setdefault((each.task, each.split, each.property), []).append(each)
    single = tasks_of_one((task, name) for task, _, name in groups)
    return "\n".join(
        _table(group, published if task in single else None, metric)
        for (task, _, _), group in groups.items()
    )


def _table(
    group: Sequence[Summary], published: PublishedTable | None, metric: str
) -> str:
    lines: dict[Any, dict[str, Summary]] = {}
    for each in group:
        lines.setdefault(each.way, {})[each.test] = each
    tests = [test for test in TESTS if any(test in line for line in lines.values())]
    names = [n for n in ("backbone", "variant") if any(getattr(w, n) for w in lines)]
    shares = any(way.train_share < 1 for way in lines)
    columns = [
        column for test in tests for column in _columns(test, group, metric, published)
    ]
    named = [*names, *(["train rows"] * shares), "folds", "runs"]
    table = [["strategy", *named, *(title for title, _, _ in columns)]]
    for way, line in lines.items():
        some = next(iter(line.values()))
        table.append(
            [
                way.strategy,
                *(getattr(way, name) for name in names),
                *([f"{some.n_train:.0f}"] * shares),
                *(str(len(some.folds)), str(some.n_runs)),
                *(
                    _cell(line[test], key) if test in line else ""
                    for _, test, key in columns
                ),
            ]
        )
    first = group[0]
    title = f"{first.task}, {first.split}: {first.property} ({first.unit})"
    text = f"{title}, mean ± standard deviation over runs\n{text_table(table)}"
    if len({frozenset(each.folds) for each in group}) > 1:
        text += "Lines differ in their folds; --common-folds takes those of all.\n"
    return text + _others(first, tests, published)


def _columns(
    test: str,
    group: Sequence[Summary],
    metric: str,
    published: PublishedTable | None,
) -> list[tuple[str, str, str]]:
    """Return title, test and key of the columns of a test."""
    rows = [each for each in group if each.test == test]
    name = test.upper()
    shown = [m for m in (*METRICS, W1) if any(m in each.numbers for each in rows)]
    columns = [(f"{name} {TITLES.get(m, m.upper())}", test, m) for m in shown]
    metric = error_among(rows[0].numbers if rows else {}, metric)
    if any(metric in each.gains for each in rows):
        title = f"{name} {TITLES[metric]} below scratch, %"
        columns.append((title, test, f"gain {metric}"))
    if published is not None and any(each.published is not None for each in rows):
        columns.append((f"published {published.metric.upper()}", test, "published"))
    return columns


def _cell(summary: Summary, key: str) -> str:
    if key == "published":
        return "" if summary.published is None else f"{summary.published:.4g}"
    if key.startswith("gain "):
        found = summary.gains.get(key.removeprefix("gain "))
        return "" if found is None else _percent(found)
    return str(summary.numbers.get(key, ""))


def _percent(spread: Spread) -> str:
    text = f"{spread.mean:+.1f}"
    return text if spread.std is None else f"{text} ± {spread.std:.1f}"


def _others(
    like: Summary, tests: Sequence[str], published: PublishedTable | None
) -> str:
    """Return what a table has of other models."""
    if published is None or not published.is_in(like.task, like.unit):
        return ""
    text = ""
    for test in tests:
        if found := published.find(like.task, like.split, test):
            listed = ", ".join(f"{name} {_with_spread(v)}" for name, v in found.items())
            text += f"{published.source}, all folds, {test.upper()} "
            text += f"{published.metric.upper()}: "
            text += f"{listed}\n"
    return text


def _with_spread(found: PublishedValue) -> str:
    # 0 is one too small for the digits that were printed
    spread = f" ± {found.spread:.4g}" if found.spread else ""
    return f"{found.value:.4g}{spread}"


def to_csv(found: Iterable[Measured]) -> str:
    """Return a line for each job, property and test, with every number.

    Parameters
    ----------
    found : iterable of Measured
    """
    found = list(found)
    metrics = list(dict.fromkeys(key for m in found for key in m.numbers))
    stream = io.StringIO()
    table = csv.writer(stream, lineterminator="\n")
    named = ["property", "unit", "n_train", "test"]
    table.writerow([*_KEYS, *_NUMBERS, *named, *metrics])
    for each in found:
        conditions = asdict(each.conditions)
        table.writerow(
            [
                *(conditions[key] for key in (*_KEYS, *_NUMBERS)),
                *(each.name, each.unit, each.n_train, each.test),
                *(each.numbers.get(metric, "") for metric in metrics),
            ]
        )
    return stream.getvalue()


def to_json(
    study: Study,
    found: Iterable[Measured],
    summaries: Iterable[Summary],
    published: PublishedTable | None,
) -> str:
    """Return summaries, the results they are of, and what is missing, as JSON.

    Parameters
    ----------
    study : Study
    found : iterable of Measured
        What the summaries are of.
    summaries : iterable of Summary
    published : PublishedTable or None
    """
    shown = {each.conditions for each in found}
    results = [asdict(r) for r in study.results if r.conditions in shown]
    document = {
        "name": study.name,
        "published": None if published is None else published.source,
        "summary": [{**asdict(each), "way": each.way._asdict()} for each in summaries],
        "results": results,
        "missing": [asdict(conditions) for conditions in study.missing],
    }
    text = json.dumps(_without_nan(document), indent=1, ensure_ascii=False)
    return text + "\n"


def _without_nan(value: Any) -> Any:
    """Return null for numbers that JSON does not have, as R² of a single label."""
    if isinstance(value, dict):
        return {key: _without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
