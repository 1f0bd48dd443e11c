"""t-SNE plots of a pretrained and a fine-tuned model, side by side."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
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
    """

    title: str
    comparison: ClusterComparison
    hues: dict[str, str]


def titled_comparisons(found: Sequence[DataSetDiagnosis]) -> list[TitledComparison]:
    """Return the rows of plots: for each data set the atoms, then the edges."""
    atom_hues = _hues([each.atoms for each in found if each.atoms is not None])
    edge_hues = _hues([each.edges for each in found if each.edges is not None])
    titled = []
    for each in found:
        drift = each.drift
        if each.atoms is not None:
            title = (
                f"{each.name}: {len(each.atoms.labelled.rows)} atoms (W1 {drift.w1:.3g}"
                f" on {drift.n_atoms} atoms, spread {drift.spread:.3g})"
            )
            titled.append(TitledComparison(title, each.atoms, atom_hues))
        if each.edges is not None:
            title = f"{each.name}: {len(each.edges.labelled.rows)} edges"
            titled.append(TitledComparison(title, each.edges, edge_hues))
    return titled


def draw_comparisons(titled: Sequence[TitledComparison]) -> Figure:
    """Return a figure with a row for each comparison: pretrained, fine-tuned, legend.

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

    figure = Figure(figsize=(11.0, 5.1 * len(titled)), layout="constrained")
    FigureCanvasAgg(figure)
    parts = figure.subfigures(len(titled), 1, squeeze=False)[:, 0]
    for part, row in zip(parts, titled, strict=True):
        part.suptitle(row.title, fontsize=11, x=0.01, ha="left")
        ratio = row.comparison.on_plane.ratio
        change = "" if ratio is None else f" ({ratio:.2f} times the pretrained)"
        left, right = part.subplots(1, 2)
        _scatter(left, row, row.comparison.pretrained, "pretrained")
        _scatter(right, row, row.comparison.fine_tuned, "fine-tuned", change)
        part.legend(
            *left.get_legend_handles_labels(),
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
    index = clusters.db_plane
    value = "of one kind only" if index is None else f"DB index {index:.3g}{change}"
    axes.set_title(f"{model}, {value}", fontsize=9)
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
