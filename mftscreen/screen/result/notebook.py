"""Results in notebooks: a table with tinted rows, one line, and pictures."""

from __future__ import annotations

from collections import Counter
from html import escape
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from mftscreen.errors import ConfigError
from mftscreen.screen.order.goals import write_goal
from mftscreen.screen.result.columns import Column, Ranked, result_columns

if TYPE_CHECKING:
    from mftscreen.screen.result.screen_result import ScreenResult

__all__ = ["plot_result", "result_html", "result_line"]

N_ROWS = 20
"""Of a table."""

COLOURS = {"ok": "#0072b2", "flagged": "#d55e00", "untested": "#7a7a85"}
"""Okabe and Ito's blue and vermilion, and grey."""
_TINTS = {"flagged": "213,94,0", "untested": "122,122,133"}
_WORDS = {"ok": "in distribution", "flagged": "flagged", "untested": "not tested"}


def result_line(result: ScreenResult) -> str:
    """Return what a result is, in one line.

    Parameters
    ----------
    result : ScreenResult
    """
    goals = ", ".join(write_goal(*goal) for goal in result.options.goals.items())
    trust = Counter(row.trust for row in result.rows if row.trust)
    parts = [f"{n} {_WORDS[kind]}" for kind, n in sorted(trust.items())]
    if failed := len(result.failures):
        parts.append(f"{failed} without a value")
    counts = f": {', '.join(parts)}" if parts else ""
    return f"<ScreenResult of {len(result.rows)} candidates by {goals}{counts}>"


def result_html(result: ScreenResult, limit: int = N_ROWS) -> str:
    """Return the first rows as a table, tinted where they are not to be trusted.

    Parameters
    ----------
    result : ScreenResult
    limit : int
        At most this many rows.
    """
    rows = list(islice(result.ranked(), limit))
    columns = [
        column
        for column in result_columns(result.units)
        if column.title and column.is_kept(rows)
    ]
    names = [*(column.title for column in columns), *result.foreign]
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    body = "".join(_html_row(ranked, columns, result.carried) for ranked in rows)
    more = len(result.rows) - len(rows)
    note = f", {more} more in to_pandas()" if more else ""
    return (
        f"<div><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        f"<small>{escape(result_line(result)[1:-1])}{note}</small></div>"
    )


def _html_row(ranked: Ranked, columns: list[Column], carried: list[str]) -> str:
    cells = [_text(column, ranked) for column in columns]
    cells += [str(ranked.row.carried.get(name, "")) for name in carried]
    tint = _TINTS.get(ranked.row.trust)
    style = f' style="background-color:rgba({tint},0.15)"' if tint else ""
    inside = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
    return f"<tr{style}>{inside}</tr>"


def _text(column: Column, ranked: Ranked) -> str:
    """Return a cell, which is empty where a candidate has no value."""
    value = column.value(ranked)
    return "" if value is None else column.text(ranked)


def plot_result(result: ScreenResult, n: int = 30, ax: Any = None) -> Any:
    """Draw the first ranked candidates.

    Parameters
    ----------
    result : ScreenResult
    n : int, default 30
        At most this many candidates.
    ax : matplotlib.axes.Axes, optional
        To draw into; by default a new one.

    Returns
    -------
    matplotlib.axes.Axes
        With one goal the values by rank, with more the values of the first two. Bars
        are prediction intervals, colours say whether to trust them.

    Raises
    ------
    ConfigError
        If no candidate has a rank, or `n` is no number of candidates.
    """
    import matplotlib.pyplot as plt

    if not isinstance(n, int | np.integer) or n < 1:
        raise ConfigError([f"n: {n!r} is not a number of candidates"])
    rows = result.top(int(n))
    if not rows:
        raise ConfigError(["no candidate has a rank, and there is nothing to draw"])
    if ax is None:
        _, ax = plt.subplots(layout="constrained")
    names = list(result.options.goals)[:2]
    place = np.arange(1, len(rows) + 1)
    for trust, colour in COLOURS.items():
        chosen = np.array([row.trust == trust for row in rows])
        if not chosen.any():
            continue
        kept = [row for row in rows if row.trust == trust]
        columns = [_values(kept, name) for name in names]
        if len(names) == 1:
            columns.insert(0, (place[chosen], None))
        (x, x_bars), (y, y_bars) = columns
        ax.errorbar(
            x, y, y_bars, x_bars, "o", color=colour, capsize=2, label=_WORDS[trust]
        )
    titles = [_axis(name, result.units[name]) for name in names]
    if len(names) == 1:
        shown = [f"{row.formula} ({row.id})" for row in rows]
        ax.set_xticks(place, shown, rotation=90, parse_math=False)
    else:
        ax.set_xlabel(titles[0])
    ax.set_ylabel(titles[-1])
    ax.legend()
    return ax


def _values(rows: list[Any], name: str) -> tuple[Any, Any]:
    """Return values and, as matplotlib has them, the lengths of their bars."""
    values = np.array([row.values.get(name, np.nan) for row in rows])
    ends = [row.intervals.get(name, (np.nan, np.nan)) for row in rows]
    low, high = np.array(ends, dtype=float).T
    bars = np.nan_to_num(np.array([values - low, high - values])).clip(min=0.0)
    return values, bars if bars.any() else None


def _axis(name: str, unit: str) -> str:
    return name if unit == "1" else f"{name} ({unit})"
