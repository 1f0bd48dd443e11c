"""Figures of a study: errors by fold, gains over scratch, data efficiency."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from statistics import fmean
from typing import Any

from mftscreen.diagnostics.plots import HUES
from mftscreen.metrics import TITLES
from mftscreen.study.summary import Measured, Summary, Way, error_among
from mftscreen.writing import output_file

__all__ = ["write_plots"]


def write_plots(
    folder: Path,
    found: Sequence[Measured],
    summaries: Sequence[Summary],
    metric: str = "mae",
) -> list[Path]:
    """Write the figures of a study as PNG files.

    Parameters
    ----------
    folder : Path
        Made if need be.
    found : sequence of Measured
    summaries : sequence of Summary
        Of the same jobs.
    metric : {"mae", "rmse"}

    Returns
    -------
    list of Path
        ``folds-…``: errors fold by fold (Figs. 6 to 8 of arXiv:2601.08486), where there
        are several folds; ``gains``: bars of the gain over scratch (Fig. 2a to c), if
        that was trained; ``efficiency-…``: errors over training rows (Fig. 3a and b),
        where these differ.
    """
    folder.mkdir(parents=True, exist_ok=True)
    figures = [
        *_fold_figures(found, metric),
        *_gain_figures(summaries, metric),
        *_efficiency_figures(summaries, metric),
    ]
    paths = []
    for name, figure in figures:
        path = folder / f"{name}.png"
        with output_file(path) as partial:
            figure.savefig(partial, dpi=150)
        paths.append(path)
    return paths


def _figure(width: float = 6.4) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, 4.0), layout="constrained")
    axes = figure.subplots()
    axes.set_prop_cycle(color=HUES)
    return figure, axes


def _label(way: Way) -> str:
    return " ".join(filter(None, (way.strategy, way.backbone, way.variant)))


def _fold_figures(found: Sequence[Measured], metric: str) -> Iterator[tuple[str, Any]]:
    groups: dict[tuple[str, str, str, str], dict[Way, dict[str, list[float]]]] = {}
    units, shown_by = {}, {}
    keyed = [((*m.group, m.test), Way.of(m.conditions), m) for m in found]
    shares = _shares((key, way) for key, way, _ in keyed)
    for key, _, m in keyed:
        if m.conditions.train_share == shares[key]:
            units[key], error = m.unit, error_among(m.numbers, metric)
            shown_by[key] = error
            folds = groups.setdefault(key, {}).setdefault(Way.of(m.conditions), {})
            folds.setdefault(m.conditions.fold, []).append(m.numbers[error])
    for key, lines in groups.items():
        errors = {
            way: {fold: fmean(values) for fold, values in folds.items()}
            for way, folds in lines.items()
        }
        # the line with most folds in ascending order, then folds that it lacks
        known: dict[str, float] = {}
        for values in sorted(errors.values(), key=len, reverse=True):
            own = sorted(values.items(), key=itemgetter(1))
            known |= {fold: error for fold, error in own if fold not in known}
        if len(known) < 2:
            continue
        order = list(known)
        figure, axes = _figure(max(6.4, 0.16 * len(order)))
        for way, values in errors.items():
            places = [k for k, fold in enumerate(order) if fold in values]
            shown = [values[order[k]] for k in places]
            axes.plot(places, shown, "o", ms=4, label=_label(way))
        axes.set_xticks(range(len(order)), order, rotation=90, fontsize=7)
        axes.set_xlabel("fold")
        axes.set_ylabel(_error_label(key[3], shown_by[key], units[key]))
        axes.set_title(f"{key[0]}, {key[1]}: {key[2]}")
        axes.legend()
        yield f"folds-{'-'.join(key)}", figure


def _gain_figures(
    summaries: Sequence[Summary], metric: str
) -> Iterator[tuple[str, Any]]:
    rows = [
        (s, gain)
        for s in summaries
        if (gain := s.gains.get(error_among(s.numbers, metric))) is not None
    ]
    shares = _shares((_place(s), s.way) for s, _ in rows)
    rows = [(s, gain) for s, gain in rows if s.way.train_share == shares[_place(s)]]
    if not rows:
        return
    places = list(dict.fromkeys(_place(s) for s, _ in rows))
    ways = list(dict.fromkeys(s.way for s, _ in rows))
    figure, axes = _figure(max(6.4, 0.5 * len(places) * len(ways)))
    width = 0.8 / len(ways)
    for number, way in enumerate(ways):
        bars = {_place(s): gain for s, gain in rows if s.way == way}
        at = [k + (number - (len(ways) - 1) / 2) * width for k in range(len(places))]
        axes.bar(
            [x for x, place in zip(at, places, strict=True) if place in bars],
            [bars[place].mean for place in places if place in bars],
            width,
            yerr=[bars[place].std or 0.0 for place in places if place in bars],
            capsize=2,
            label=_label(way),
        )
    several = len({place[:2] for place in places}) > len({p[0] for p in places})
    names = [
        "\n".join([task, *([name] if several else []), split, test.upper()])
        for task, name, split, test in places
    ]
    axes.set_xticks(range(len(places)), names, fontsize=7)
    axes.axhline(0, color="black", lw=0.8)
    errors = dict.fromkeys(error_among(s.numbers, metric) for s, _ in rows)
    shown = " or ".join(TITLES[error] for error in errors)
    axes.set_ylabel(f"{shown} below that of scratch (%)")
    axes.legend()
    yield "gains", figure


_Key = tuple[str, str, str, str]


def _shares(ways: Iterable[tuple[_Key, Way]]) -> dict[_Key, float]:
    """Return the share of training rows that most lines have, or the largest such."""
    found: dict[_Key, set[Way]] = {}
    for key, way in ways:
        found.setdefault(key, set()).add(way)
    return {
        key: max(
            (n, share) for share, n in Counter(w.train_share for w in own).items()
        )[1]
        for key, own in found.items()
    }


def _place(summary: Summary) -> tuple[str, str, str, str]:
    return summary.task, summary.property, summary.split, summary.test


def _error_label(test: str, error: str, unit: str) -> str:
    of = "" if error == "log_loss" else f" ({unit})"
    return f"{test.upper()} {TITLES[error]}{of}"


def _efficiency_figures(
    summaries: Sequence[Summary], metric: str
) -> Iterator[tuple[str, Any]]:
    groups: dict[tuple[str, str, str, str], list[Summary]] = {}
    for s in summaries:
        groups.setdefault((s.task, s.split, s.property, s.test), []).append(s)
    for key, rows in groups.items():
        lines: dict[str, list[Summary]] = {}
        for s in rows:
            lines.setdefault(_label(s.way), []).append(s)
        if all(len(line) < 2 for line in lines.values()):
            continue
        figure, axes = _figure()
        error = error_among(rows[0].numbers, metric)
        for label, line in lines.items():
            line.sort(key=lambda s: s.n_train)
            spreads = [s.numbers[error] for s in line]
            axes.errorbar(
                [s.n_train for s in line],
                [spread.mean for spread in spreads],
                [spread.std or 0.0 for spread in spreads],
                marker="o",
                capsize=2,
                label=label,
            )
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("training rows")
        axes.set_ylabel(_error_label(key[3], error, rows[0].unit))
        axes.set_title(f"{key[0]}, {key[1]}: {key[2]}")
        axes.legend()
        yield f"efficiency-{'-'.join(key)}", figure
