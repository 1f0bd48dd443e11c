"""t-SNE plots of a pretrained model and of what was made of it, side by side."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np

from mftscreen.diagnostics.clusters import ClusterComparison, Clusters
from mftscreen.diagnostics.diagnosis import DataSetDiagnosis

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["TitledComparison", "draw_comparisons", "picture", "titled_comparisons"]

Colour = tuple[float, float, float]

HUES = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#3a3a3a",
)  # fmt: skip
"""Okabe and Ito's, which differ with any colour vision, but for their yellow, which is
too light. One per element or pair, whose kinds go from dark to light."""

SHAPES = "os^DvP<X>p*h"
"""One per kind of a family, so that shades need not be told apart. The next family
begins elsewhere, since hues come again if there are many."""

SHIFT = 11
"""Shapes by which a family begins later than the one before: it and the seventh after
it, of the same hue, have no shape in common if they have up to five kinds."""

MARKER = 6.0
"""Diameter in a legend, in points."""

DARKEST, LIGHTEST = -0.4, 0.5
"""Share of black (negative) or white in the first and the last kind of a family."""

DPI = 150


@dataclass(frozen=True)
class TitledComparison:
    """What a row of plots shows.

    Attributes
    ----------
    title : str
    comparison : ClusterComparison
    hues : dict of str to str
        Colour of each family, the same in all data sets.
    notes : dict of str to str
        What is said of a model beside its index.
    """

    title: str
    comparison: ClusterComparison
    hues: dict[str, str]
    notes: dict[str, str] = field(default_factory=dict)


def titled_comparisons(found: Sequence[DataSetDiagnosis]) -> list[TitledComparison]:
    """Return the rows of plots: for each data set the atoms, then the edges."""
    atom_hues = _hues([each.atoms for each in found if each.atoms is not None])
    edge_hues = _hues([each.edges for each in found if each.edges is not None])
    titled = []
    for each in found:
        if each.atoms is not None:
            title = f"{each.name}: {len(each.atoms.labelled.rows)} atoms"
            moved = {m: f", W1 {drift.w1:.3g}" for m, drift in each.drift.items()}
            titled.append(TitledComparison(title, each.atoms, atom_hues, moved))
        if each.edges is not None:
            title = f"{each.name}: {len(each.edges.labelled.rows)} edges"
            titled.append(TitledComparison(title, each.edges, edge_hues))
    return titled


def draw_comparisons(titled: Sequence[TitledComparison]) -> Figure:
    """Return a figure with a row for each comparison: all models and a legend.

    Parameters
    ----------
    titled : sequence of TitledComparison
        At least one.

    Returns
    -------
    matplotlib Figure
    """
    # not by way of pyplot, whose state is global
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    n_models = 1 + max(len(row.comparison.fine_tuned) for row in titled)
    size = (1.8 + 4.6 * n_models, 5.1 * len(titled))
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    parts = figure.subfigures(len(titled), 1, squeeze=False)[:, 0]
    for part, row in zip(parts, titled, strict=True):
        part.suptitle(row.title, fontsize=11, x=0.01, ha="left")
        first, *others = part.subplots(1, n_models, squeeze=False)[0]
        _scatter(first, row, row.comparison.pretrained, "pretrained")
        for axes, (model, clusters) in zip(
            others, row.comparison.fine_tuned.items(), strict=True
        ):
            _scatter(axes, row, clusters, model, _change(row, model))
        part.legend(
            *first.get_legend_handles_labels(),
            loc="outside right center",
            fontsize=8,
            frameon=False,
            markerscale=MARKER / np.sqrt(_area(row)),
        )
    return figure


def picture(figure: Figure) -> bytes:
    """Return a figure as the contents of a PNG file, the same for the same figure."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=DPI, metadata={"Software": None})
    return stream.getvalue()


def _area(row: TitledComparison) -> float:
    """Return the size of a marker in square points, smaller where there are many."""
    return 20.0 if len(row.comparison.labelled.rows) < 2000 else 7.0


def _change(row: TitledComparison, model: str) -> str:
    """Return how a model differs from the pretrained one."""
    found, note = row.comparison.on_plane(model), row.notes.get(model, "")
    if found.ratio is None:
        return note
    return f" ({with_spread(found.ratio, found.sd)} times the pretrained){note}"


def with_spread(mean: float | None, sd: float | None) -> str:
    """Return a mean and its standard deviation for people.

    Examples
    --------
    >>> with_spread(1.4932, 0.4057), with_spread(1.4932, None), with_spread(None, None)
    ('1.49 ± 0.41', '1.493', '-')
    """
    if mean is None:
        return "-"
    return f"{mean:.4g}" if sd is None else f"{mean:.3g} ± {sd:.2g}"


def _scatter(
    axes: Any, row: TitledComparison, clusters: Clusters, model: str, change: str = ""
) -> None:
    labelled = row.comparison.labelled
    marks = zip(
        _colours(labelled.families, row.hues),
        _shapes(labelled.families, row.hues),
        strict=True,
    )
    for code, (colour, shape) in enumerate(marks):
        points = clusters.plane[labelled.codes == code]
        if len(points):
            label = f"{labelled.names[code]} ({len(points)})"
            axes.scatter(
                *points.T, s=_area(row), color=colour, marker=shape, lw=0, label=label
            )
    indices = clusters.on_plane
    value = f"DB index {np.mean(indices):.3g}" if indices else "of one kind only"
    axes.set_title(f"{model}, {value}{change}", fontsize=9)
    axes.set(xticks=[], yticks=[])
    axes.set_aspect("equal", "datalim")


def _hues(comparisons: Sequence[ClusterComparison]) -> dict[str, str]:
    families = {family for each in comparisons for family in each.labelled.families}
    return dict(zip(sorted(families), cycle(HUES), strict=False))


def _colours(families: Sequence[str], hues: dict[str, str]) -> list[Colour]:
    """Return a shade of its family's hue for each kind, mixed with black or white."""
    from matplotlib.colors import to_rgb

    colours = []
    for number, family in enumerate(families):
        earlier, total = families[:number].count(family), families.count(family)
        shares = np.linspace(DARKEST, LIGHTEST, total) if total > 1 else [0.0]
        share, hue = shares[earlier], np.array(to_rgb(hues[family]))
        shade = hue * (1.0 + share) if share < 0 else hue + (1.0 - hue) * share
        red, green, blue = shade.tolist()
        colours.append((red, green, blue))
    return colours


def _shapes(families: Sequence[str], hues: dict[str, str]) -> list[str]:
    """Return a shape for each kind, which no other one of its hue has."""
    places = {family: SHIFT * place for place, family in enumerate(hues)}
    return [
        SHAPES[(places[family] + families[:number].count(family)) % len(SHAPES)]
        for number, family in enumerate(families)
    ]
