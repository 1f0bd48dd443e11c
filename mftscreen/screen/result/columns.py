"""The columns of results, each declared once.

Files, the table for people, the database, the report's headings, conditions and the
help are made of these. A new column is one more entry here, and an attribute of
:class:`mftscreen.screen.result.rows.ScreenRow` if it shows something new.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from mftscreen.console.text_table import printable

if TYPE_CHECKING:
    from mftscreen.screen.result.rows import ScreenRow

__all__ = ["FLAGS", "IDS", "Column", "Ranked", "result_columns"]

_WIDEST, _LONGEST_NOTE = 60, 200
"""Characters of a cell in a table for people; the note is not followed by others."""


_WHY = "why there is no interval"


class Ranked(NamedTuple):
    """What the columns of one candidate are made of.

    Attributes
    ----------
    rank, front : int or None
    row : ScreenRow
    model : str
        Models by the beginnings of their sha256.
    fast_model : str
        The fast ones of a funnel, likewise.
    """

    rank: int | None
    front: int | None
    row: ScreenRow
    model: str
    fast_model: str = ""


@dataclass(frozen=True)
class Column:
    """One column of a table of results.

    Attributes
    ----------
    name : str
        In files, in conditions, and as a key of an ase.db.
    value : callable
        Takes a :class:`Ranked`; returns a number, a truth value, a text or None.
    label : str
        What it holds, with the unit of a number that has one.
    kind : {"value", "flag", "id"}
        Of a flag that is unknown, neither it nor its negation holds in a condition. An
        id stays a text in an ase.db, even if it looks like a number.
    optional : bool
        Left out if no candidate has a value.
    title : str
        Heading in a table for people; without one it is not shown there.
    cell : callable or None
        Takes a :class:`Ranked` that has a rank; returns the text in such a table. None
        for the value as it is.
    """

    name: str
    value: Callable[[Ranked], Any]
    label: str = ""
    kind: Literal["value", "flag", "id"] = "value"
    optional: bool = False
    title: str = ""
    cell: Callable[[Ranked], str] | None = None

    def text(self, ranked: Ranked) -> str:
        """Return the text of a cell in a table for people."""
        return str(self.value(ranked)) if self.cell is None else self.cell(ranked)

    def is_kept(self, found: Iterable[Ranked]) -> bool:
        """Tell whether a table of some candidates has it."""
        if not self.optional:
            return True
        return any(self.value(ranked) not in (None, "") for ranked in found)


def result_columns(units: Mapping[str, str]) -> list[Column]:
    """Return all columns that a table of results can have, in their order.

    Parameters
    ----------
    units : mapping of str to str
        Property to unit, for what candidates are ranked by.

    Returns
    -------
    list of Column

    Examples
    --------
    >>> [column.name for column in result_columns({"gap": "eV"})][2:6]
    ['id', 'formula', 'gap', 'gap_unit']
    """
    columns = [
        Column(
            "rank", lambda r: r.rank, "position in the order of merit", title="rank"
        ),
        Column(
            "front",
            lambda r: r.front,
            "number of the Pareto front, from 1; with several goals",
            optional=True,
        ),
        Column(
            "id",
            lambda r: r.row.id,
            "name of the candidate in its source",
            kind="id",
            title="id",
            cell=lambda r: _shown(r.row.id, _WIDEST),
        ),
        Column(
            "formula",
            lambda r: r.row.formula,
            "formula: reduced, or of a molecule the whole one",
            title="formula",
            cell=lambda r: _shown(r.row.formula, _WIDEST),
        ),
    ]
    for name, unit in units.items():
        columns += _property_columns(name, unit)
    return [*columns, *_OOD, *_FAST, *map(_relaxation_column, _RELAXATION), *_LAST]


def _property_columns(name: str, unit: str) -> list[Column]:
    has_unit = unit != "1"
    columns = [
        Column(
            name,
            lambda r: r.row.values.get(name),
            f"{name} as predicted; the mean of an ensemble",
            title=f"{name} ({unit})" if has_unit else name,
            cell=lambda r: _with_spread(r.row, name),
        )
    ]
    if has_unit:
        columns.append(
            Column(
                f"{name}_unit",
                lambda _: unit,
                f"unit of {name}, its error, spread and interval",
            )
        )
    parts: dict[str, tuple[Callable[[Ranked], float | str | None], str]] = {
        "low": (
            lambda r: r.row.intervals.get(name, (None, None))[0],
            f"lower end of the interval of {name}",
        ),
        "high": (
            lambda r: r.row.intervals.get(name, (None, None))[1],
            f"upper end of the interval of {name}",
        ),
        "no_interval": (lambda r: r.row.no_intervals.get(name, ""), _WHY),
    }
    return [
        *columns,
        Column(
            f"{name}_spread",
            lambda r: r.row.spreads.get(name),
            "standard deviation (n - 1) of an ensemble's predictions",
            optional=True,
        ),
        Column(
            f"{name}_error",
            lambda r: r.row.errors.get(name),
            f"absolute error to expect of {name}",
            optional=True,
            title="error",
            cell=lambda r: f"{e:.2g}" if (e := r.row.errors.get(name)) else "",
        ),
        *(
            Column(f"{name}_{part}", value, label, optional=True)
            for part, (value, label) in parts.items()
        ),
        Column(
            f"fast_{name}",
            lambda r: r.row.fast and r.row.fast.values.get(name),
            f"{name} by the fast model",
            optional=True,
            title=f"fast {name}",
            cell=lambda r: f"{r.row.fast.values[name]:.4g}" if r.row.fast else "",
        ),
    ]


_OOD = (
    Column(
        "trust",
        lambda r: r.row.trust,
        "ok, flagged (out of distribution) or untested",
        title="trust",
    ),
    Column(
        "ood_p_value",
        lambda r: r.row.ood_p_value,
        "share of the training set at least as far from the rest of it",
        title="OOD p",
        cell=lambda r: "" if (p := r.row.ood_p_value) is None else f"{p:.3f}",
    ),
    Column(
        "descriptor_p_value",
        lambda r: r.row.descriptor_p_value,
        "the same for the distance from it in the model's descriptor; a fifth of that "
        "for a training set without OFMs beside others",
        optional=True,
    ),
    Column(
        "ood",
        lambda r: r.row.ood,
        "out of distribution",
        kind="flag",
    ),
    Column(
        "low_dimensional",
        lambda r: r.row.low_dimensional,
        "holds vacuum, on which its p-value depends",
        kind="flag",
    ),
)

_FAST = (
    Column(
        "fast_rank",
        lambda r: r.row.fast_rank,
        "rank by the fast model",
        optional=True,
    ),
    Column(
        "fast_ood_p_value",
        lambda r: r.row.fast and r.row.fast.ood_p_value,
        "the same share of the fast model's training set",
        optional=True,
    ),
    Column(
        "fast_ood",
        lambda r: r.row.fast and r.row.fast.ood,
        "out of distribution for the fast model",
        kind="flag",
        optional=True,
    ),
)
"""Of a funnel."""

_RELAXATION: dict[str, tuple[Literal["value", "flag"], str]] = {
    "converged": ("flag", "relaxed until no force was larger than asked for"),
    "steps": ("value", "steps of the relaxation"),
    "fmax": ("value", "largest force at its end, in eV/Å"),
    "volume_change": ("value", "change of the volume, relative to that before"),
}
"""Attributes of :class:`mftscreen.screen.work.outcome.Relaxation`."""


def _relaxation_column(name: str) -> Column:
    kind, label = _RELAXATION[name]
    return Column(
        f"relax_{name}",
        lambda r: getattr(r.row.relaxation, name, None),
        label,
        kind=kind,
        optional=True,
    )


_LAST = (
    Column(
        "duplicate_of",
        lambda r: r.row.duplicate_of,
        "earlier candidate with the same structure",
        kind="id",
        optional=True,
    ),
    Column(
        "status",
        lambda r: r.row.status,
        "ok, fast_only (seen by the fast model of a funnel alone), or why there is no "
        "value",
    ),
    Column(
        "reason",
        lambda r: r.row.reason,
        "why it failed or what is unlike the training set",
        title="note",
        cell=lambda r: _shown(r.row.reason, _LONGEST_NOTE),
    ),
    Column("model", lambda r: r.model, "m and the start of the model file's sha256"),
    Column("fast_model", lambda r: r.fast_model, "the fast one", optional=True),
)


def _names(kind: str) -> frozenset[str]:
    return frozenset(c.name for c in result_columns({}) if c.kind == kind)


def _shown(text: str, widest: int) -> str:
    """Return a text in one line of printable characters, cut if it is too long."""
    # first cut what need not be looked at
    safe = printable(text[: widest + 1])
    return safe if len(safe) <= widest else f"{safe[: widest - 1]}…"


def _with_spread(row: ScreenRow, name: str) -> str:
    """Return a value, with its interval or, without one, the ensemble's spread."""
    text = f"{row.values[name]:.4g}"
    if name in row.intervals:
        low, high = row.intervals[name]
        return f"{text} [{low:.3g}, {high:.3g}]"
    return f"{text} ± {row.spreads[name]:.2g}" if name in row.spreads else text


FLAGS, IDS = _names("flag"), _names("id")
"""Columns of truth values, and of ids of candidates."""
