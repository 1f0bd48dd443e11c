"""What ``mftscreen finetune`` prints in the end: errors, in numbers and in words."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mftscreen.console.text_table import text_table

if TYPE_CHECKING:
    from mftscreen.finetune.compare.verdict import Comparison

__all__ = ["show_comparison", "show_training"]

_PROPERTY = {
    "n": ("n", ".0f"),
    "mae": ("mae", ".4g"),
    "rmse": ("rmse", ".4g"),
    "r2": ("r2", ".3f"),
    "spearman": ("spearman", ".3f"),
    "coverage_90": ("in 90 %", ".3f"),
}
_CLASS = {
    "n": ("n", ".0f"),
    "auc": ("AUC", ".3f"),
    "balanced_accuracy": ("balanced accuracy", ".3f"),
    "brier": ("Brier", ".3f"),
    "log_loss": ("log loss", ".3f"),
    "calibration_error": ("calibration", ".3f"),
}
_FORCE_FIELD = {
    "n": ("n", ".0f"),
    "force_mae": ("force, eV/Å", ".4g"),
    "energy_mae": ("energy, eV/atom", ".4g"),
}
"""Metrics that are shown, with their titles and formats."""


def show_comparison(comparison: Comparison) -> None:
    """Print errors and drift of all strategies, what they mean, and the best one."""
    from mftscreen.finetune.compare.finding import say_finding

    drifts = [key for result in comparison.results for key in result.drift]
    several = len(comparison.folds) > 1
    click.echo(comparison.to_table())
    _show_legend([*comparison.tests, *drifts, *(["±"] if several else [])])
    click.echo(say_finding(comparison))


def show_training(path: Path, *, with_collapse: bool) -> None:
    """Print the errors on the card of a model, and its collapse report if it has one.

    Parameters
    ----------
    path : Path
        The model, in the folder of its training.
    with_collapse : bool
    """
    from mftscreen.finetune.outcome.wording import say_errors
    from mftscreen.model.files.bundle import read_bundle

    card = read_bundle(path).card
    shown, sentences = [], []
    for name, head in card.properties.items():
        columns = _CLASS if head.spec.is_class else _PROPERTY
        shown += _show_parts(f"{name} ({head.spec.unit})", columns, head.metrics)
        sentences.append(say_errors(name, head.metrics))
    for name, found in card.force_field.items():
        parts = {part: m for part, m in found.items() if isinstance(m, dict)}
        shown += _show_parts(f"{name}, MAE", _FORCE_FIELD, parts)
    if with_collapse:
        shown += _show_collapse(path)
    if sentences:
        click.echo()
        _show_legend([*shown, "constant"])
        for sentence in filter(None, sentences):
            click.echo(sentence)


def _show_legend(shown: Iterable[str]) -> None:
    from mftscreen.finetune.outcome.wording import legend

    for line in legend(shown):
        click.echo(textwrap.fill(line, 88, subsequent_indent="  "))


def _show_parts(
    title: str,
    columns: Mapping[str, tuple[str, str]],
    parts: Mapping[str, Mapping[str, float]],
) -> list[str]:
    """Print a table of metrics, a line for each part, and return its headings."""
    headings = [shown for shown, _ in columns.values()]
    lines = [[title, *headings]]
    for part, metrics in parts.items():
        cells = (
            f"{metrics[key]:{spec}}" if key in metrics else ""
            for key, (_, spec) in columns.items()
        )
        lines.append([part, *cells])
    click.echo(text_table(lines, "<>", (24, 8)), nl=False)
    return [*headings, *parts]


def _show_collapse(path: Path) -> list[str]:
    """Print the numbers of a model's collapse report, and return their headings."""
    from mftscreen.finetune.outcome.collapse import COLUMNS, PAGE, read_collapse

    collapse = read_collapse(path)
    if collapse is None:
        return []
    click.echo(collapse.to_table(), nl=False)
    if (page := path.with_name(PAGE)).exists():
        click.echo(f"collapse report: {page}")
    return list(COLUMNS)
