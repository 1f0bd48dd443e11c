"""Drawing maps of a reference set and of candidates, coloured by p-value."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mftscreen.errors import DataError
from mftscreen.ood.map.embedding import Embedding, MapPoint
from mftscreen.writing import check_place, output_file

__all__ = ["check_map_output", "write_map"]

FORMATS = (".html", ".png")

GREY = "#b8bcc2"
COLORS = "viridis"
"""Even in lightness, so that it reads the same with any colour vision and in grey."""
MIDDLE = "#21918c"
"""Of these, in the legend."""

OUTLINE = " Those with an outline are flagged."


def check_map_output(path: Path) -> None:
    """Raise if no map could be written to `path`; worth knowing before a long run.

    Raises
    ------
    DataError
        If the ending is not .html or .png, there is no such folder, or plotly, which
        an .html needs, is not installed.
    """
    if path.suffix not in FORMATS:
        msg = f"unknown format of a map; expected {' or '.join(FORMATS)}"
        raise DataError(msg, path=path)
    check_place(path)
    if path.suffix == ".html" and find_spec("plotly") is None:
        msg = (
            "an .html map needs plotly; install it with "
            "pip install 'mftscreen[report]', or write a .png"
        )
        raise DataError(msg, path=path)


def write_map(
    path: Path,
    title: str,
    embedding: Embedding,
    reference: Sequence[MapPoint],
    candidates: Sequence[MapPoint],
) -> None:
    """Draw a map: an .html to explore or a .png to show.

    Parameters
    ----------
    path : Path
        ``.html`` (self-contained, with id, formula and p-value of the point under the
        mouse) or ``.png``. An existing file is replaced once the new one is complete.
    title : str
    embedding : Embedding
    reference, candidates : sequence of MapPoint
        As many as there are positions. With candidates the reference is grey, without
        it is coloured.

    Raises
    ------
    DataError
        As :func:`check_map_output`, or if the file cannot be written.
    """
    check_map_output(path)
    write = _write_html if path.suffix == ".html" else _write_png
    with output_file(path) as partial:
        write(partial, title, embedding, reference, candidates)


def _write_png(
    path: Path,
    title: str,
    embedding: Embedding,
    reference: Sequence[MapPoint],
    candidates: Sequence[MapPoint],
) -> None:
    # not by way of pyplot, whose state is global
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 6.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    if candidates:
        x, y = embedding.reference.T
        label = f"reference ({len(reference)})"
        axes.scatter(x, y, s=5, c=GREY, linewidths=0, label=label)
    points, positions = _coloured(embedding, reference, candidates)
    colours = ScalarMappable(LogNorm(_lowest(points), 1.0), COLORS)
    for name, rows in _flagged_apart(points, candidates):
        flagged = points[rows[0]].ood
        axes.scatter(
            *(positions[rows, 0], positions[rows, 1]),
            s=_diameter(len(points), flagged) ** 2,
            c=colours.to_rgba(np.array([points[k].p_value for k in rows])),
            edgecolors="black" if flagged else "none",
            linewidths=0.8,
            label=name,
        )
    figure.colorbar(colours, ax=axes, label=_scale(candidates), pad=0.02)
    axes.set(xlabel=embedding.axes[0], ylabel=embedding.axes[1], xticks=[], yticks=[])
    axes.set_aspect("equal", "datalim")
    axes.set_title(title, fontsize=9, loc="left", parse_math=False)
    figure.legend(loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    figure.savefig(path, dpi=200)


def _write_html(
    path: Path,
    title: str,
    embedding: Embedding,
    reference: Sequence[MapPoint],
    candidates: Sequence[MapPoint],
) -> None:
    import plotly.graph_objects as go

    figure = go.Figure()
    if candidates:
        name = f"reference ({len(reference)})"
        marker = {"size": 4, "color": GREY}
        figure.add_scattergl(
            **_trace(embedding.reference, reference),
            name=name,
            showlegend=False,
            marker=marker,
        )
        figure.add_scatter(**_key(name, marker))
    points, positions = _coloured(embedding, reference, candidates)
    for name, rows in _flagged_apart(points, candidates):
        shown = [points[k] for k in rows]
        flagged = shown[0].ood
        line = {"width": 1.2 if flagged else 0, "color": "black"}
        size = 1.4 * _diameter(len(points), flagged)
        figure.add_scattergl(
            **_trace(positions[rows], shown),
            name=name,
            showlegend=False,
            marker={
                "size": size,
                "color": [np.log10(point.p_value) for point in shown],
                "coloraxis": "coloraxis",
                "line": line,
            },
        )
        figure.add_scatter(**_key(name, {"size": size, "color": MIDDLE, "line": line}))
    _lay_out(figure, embedding.axes, np.log10(_lowest(points)), _scale(candidates))
    plot = figure.to_html(
        full_html=False,
        include_plotlyjs=True,
        default_height="100%",
        config={"responsive": True, "displaylogo": False},
        div_id="map",
        post_script=_FOLLOW_THE_SCREEN,
    )
    template = files("mftscreen.ood.map") / "map_page.html"
    first, _, rest = title.partition("\n")
    page = Template(template.read_text("utf-8")).substitute(
        title=html.escape(first),
        details=html.escape(rest),
        outline=OUTLINE if any(point.ood for point in points) else "",
        plot=plot,
    )
    # an id may be no text
    path.write_text(page, encoding="utf-8", errors="backslashreplace", newline="\n")


_FOLLOW_THE_SCREEN = """
const map = document.getElementById("{plot_id}");
const dark = matchMedia("(prefers-color-scheme: dark)");
function follow() {
  const ink = dark.matches ? "#e3e8ee" : "#1d2733";
  const lines = { "font.color": ink, "xaxis.linecolor": ink, "yaxis.linecolor": ink };
  Plotly.update(map, { "marker.line.color": ink }, lines);
}
dark.addEventListener("change", follow);
follow();
"""
"""plotly has no style sheets, which would know of dark screens."""


def _key(name: str, marker: Mapping[str, Any]) -> dict[str, Any]:
    """Return a point that is in the legend only.

    plotly draws those of many coloured points black, with complaints.
    """
    point: dict[str, Any] = {"x": [None], "y": [None], "mode": "markers"}
    return point | {"name": name, "marker": marker, "hoverinfo": "skip"}


def _lay_out(figure: Any, titles: Sequence[str], lowest: float, scale: str) -> None:
    ticks = np.arange(np.ceil(lowest), 1)
    bar = {
        "title": {"text": scale, "side": "top"},
        "tickvals": ticks,
        "ticktext": [f"{10.0**tick:g}" for tick in ticks],
        # beside the plot it would take half the width of a phone
        "orientation": "h",
        "thickness": 12,
        "y": 1.0,
        "yanchor": "bottom",
    }
    bare = {"showticklabels": False, "ticks": ""}
    figure.update_layout(
        template="simple_white",
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        margin={"t": 10, "l": 40, "r": 10, "b": 55},
        xaxis={"title": titles[0], **bare},
        yaxis={"title": titles[1], **bare, "scaleanchor": "x"},
        legend={"orientation": "h", "y": -0.12, "itemclick": False},
        coloraxis={"colorscale": COLORS, "cmin": lowest, "cmax": 0.0, "colorbar": bar},
    )


def _coloured(
    embedding: Embedding, reference: Sequence[MapPoint], candidates: Sequence[MapPoint]
) -> tuple[list[MapPoint], NDArray[np.float64]]:
    """Return the points that are coloured, the lowest p-value last and so on top."""
    points = candidates or reference
    positions = embedding.candidates if candidates else embedding.reference
    order = sorted(range(len(points)), key=lambda k: -points[k].p_value)
    return [points[k] for k in order], positions[order]


def _flagged_apart(
    points: Sequence[MapPoint], candidates: Sequence[MapPoint]
) -> Iterator[tuple[str, list[int]]]:
    """Yield legend and rows of the points that are not flagged, then of those that are.

    A group without points is left out.
    """
    what = "candidates" if candidates else "reference"
    for name, flagged in ((what, False), (f"{what}, flagged", True)):
        rows = [k for k, point in enumerate(points) if point.ood == flagged]
        if rows:
            yield f"{name} ({len(rows)})", rows


def _lowest(points: Sequence[MapPoint]) -> float:
    """Return where the colour scale begins."""
    return min(0.1, *(point.p_value for point in points))


def _scale(candidates: Sequence[MapPoint]) -> str:
    if candidates:
        return "p-value (low: unlike the reference)"
    return "leave-one-out p-value (low: unlike the rest of the reference)"


def _diameter(n_points: int, flagged: bool) -> float:
    """Return the size of a marker in points, smaller where there are many."""
    return (5.5 if n_points < 1000 else 3.0) * (1.25 if flagged else 1.0)


def _trace(
    positions: NDArray[np.float64], points: Sequence[MapPoint]
) -> dict[str, Any]:
    """Return positions and mouse-over texts as plotly wants them."""
    return {
        "x": positions[:, 0],
        "y": positions[:, 1],
        "mode": "markers",
        "customdata": [[p.id, p.formula, f"{p.p_value:.3g}"] for p in points],
        "hovertemplate": "%{customdata[0]}<br>%{customdata[1]}"
        "<br>p = %{customdata[2]}<extra></extra>",
    }
