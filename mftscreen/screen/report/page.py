"""A screening as one HTML page that needs nothing else, not even a network."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from numpy.typing import NDArray

from mftscreen.errors import DataError
from mftscreen.properties import PropertySpec
from mftscreen.screen.candidates.stream import check_not_read
from mftscreen.screen.order.rank_options import RankOptions
from mftscreen.screen.report.scene import build_scene, element_style
from mftscreen.screen.report.table import (
    as_json,
    build_columns,
    describe_goals,
    describe_rows,
)
from mftscreen.screen.report.verdict import say_verdict
from mftscreen.screen.result.rows import FAST_ONLY
from mftscreen.writing import check_place, output_file

if TYPE_CHECKING:
    from mftscreen.ood.map.embedding import Embedding

__all__ = [
    "MAX_ATOMS",
    "MAX_REASONS",
    "MAX_STRUCTURES",
    "ReportData",
    "build_report",
    "check_report_output",
]

MAX_STRUCTURES = 2000
"""Structures that a report keeps, those of the first rows."""

MAX_ATOMS = 1000
"""A structure with more atoms is not kept."""

MAX_REASONS = 200
"""Reasons of failure that a report lists; the rest it counts."""

N_BINS = 40

SCRIPTS = (
    "data.js", "elements.js", "filters.js", "table.js", "charts.js", "pareto.js",
    "map.js", "viewer.js", "page.js",
)  # fmt: skip


@dataclass(frozen=True)
class ReportData:
    """What a report shows.

    Attributes
    ----------
    title : str
    command : str or None
        The command that made the results; None if they were not made by one.
    columns : sequence of str
        Of the table, in order.
    records : sequence of mapping
        One per candidate in order of merit, column to value: number, bool, text or
        None. A candidate was left out if its ``status`` is ``filtered``, seen by the
        fast model of a funnel alone if it is ``fast_only``, and failed if it is
        anything else but ``ok``.
    properties : sequence of PropertySpec
        At least one; each is a column of its name. The first one is drawn first.
    options : RankOptions
        What the records were ranked by.
    model_cards : sequence of mapping
        As ``ModelCard.model_dump(mode="json")`` returns them. The page shows of them
        what is about `properties`.
    remarks : sequence of str
        What to bear in mind, such as whether intervals apply.
    remark_details : sequence of str
        What these rest on; folded.
    structures : mapping of int to Atoms
        Positions in `records` to structures, as far as there are any. Kept are the
        first 2,000 with up to 1,000 atoms each.
    training_targets : mapping of str to ndarray of shape (n_labels,)
        Property name to training labels, for those that are known.
    training_elements : collection of str, optional
        Chemical symbols that occur in the training set; None if not known.
    embedding : Embedding, optional
        Where training set and candidates lie on a map.
    embedded : sequence of int
        Positions in `records` of the embedding's candidates.
    """

    title: str
    command: str | None
    columns: Sequence[str]
    records: Sequence[Mapping[str, Any]]
    properties: Sequence[PropertySpec]
    options: RankOptions
    model_cards: Sequence[Mapping[str, Any]]
    remarks: Sequence[str] = ()
    remark_details: Sequence[str] = ()
    structures: Mapping[int, Atoms] = field(default_factory=dict)
    training_targets: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    training_elements: Collection[str] | None = None
    embedding: Embedding | None = None
    embedded: Sequence[int] = ()


def check_report_output(path: Path, *inputs: str | Path | None) -> None:
    """Raise if no report could be written to `path`; worth knowing before a long run.

    Parameters
    ----------
    path : Path
    *inputs : str, Path or None
        Files, folders and patterns that are read again when the screening goes on.

    Raises
    ------
    DataError
        If the ending is not .html, there is no such folder, plotly is not installed, or
        the file would be read as one of the inputs.
    """
    if path.suffix != ".html":
        msg = "unknown format of a report; expected .html"
        raise DataError(msg, path=path)
    check_place(path)
    check_not_read(path, *inputs)
    if find_spec("plotly") is None:
        msg = "a report needs plotly; install it with pip install 'mftscreen[report]'"
        raise DataError(msg, path=path)


def build_report(data: ReportData, path: Path) -> None:
    """Write a report: one HTML file with all data, scripts and styles in it.

    Parameters
    ----------
    data : ReportData
    path : Path
        Ends in ``.html``. An existing file is replaced once the page is complete.

    Raises
    ------
    DataError
        As :func:`check_report_output`, or if the file cannot be written.

    Notes
    -----
    The data lie in the page as gzipped JSON in base64 and are shown as text only, so
    that no id, reason or model card can add markup or scripts to it. Beyond that, a
    content security policy lets the browser run this module's scripts alone and load
    nothing from anywhere.
    """
    from plotly.offline import get_plotlyjs

    check_report_output(path)
    assets = files("mftscreen.screen.report") / "assets"
    script, plotly = (
        "\n".join((assets / name).read_text("utf-8") for name in SCRIPTS),
        get_plotlyjs(),
    )
    # plotly's WebGL drawing compiles functions, hence 'unsafe-eval'
    policy = (
        "default-src 'none'; base-uri 'none'; form-action 'none'; "
        f"script-src '{_digest(script)}' '{_digest(plotly)}' 'unsafe-eval'; "
        "style-src 'unsafe-inline'; img-src data: blob:"
    )
    payload = json.dumps(_payload(data), allow_nan=False, separators=(",", ":"))
    page = Template((assets / "page.html").read_text("utf-8")).substitute(
        policy=policy,
        title=html.escape(data.title),
        style=(assets / "page.css").read_text("utf-8"),
        data=_packed(payload),
        plotly=_packed(plotly),
        script=script,
    )
    with output_file(path) as partial:
        # the title is a file's name, which may be no text
        partial.write_text(
            page, encoding="utf-8", errors="backslashreplace", newline="\n"
        )


def _packed(text: str) -> str:
    # without the time, so that equal data give equal pages
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def _digest(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _payload(data: ReportData) -> dict[str, Any]:
    columns = build_columns(data.columns, data.records, data.properties, data.options)
    if all(record.get("ood_p_value") is None for record in data.records):
        # it tells what the p-value depends on
        columns = [c for c in columns if c["name"] != "low_dimensional"]
    empty = [column["title"] for column in columns if column["kind"] == "empty"]
    note = "Numbers are rounded."
    if empty:
        note += f" Columns without any value: {', '.join(empty)}."
    structures = _structures(data.structures)
    symbols = {s for scene in structures.values() for s in scene["symbols"]}
    reasons = _failures(data.records)
    n_filtered = sum(r["count"] for r in reasons if r["status"] == "filtered")
    return {
        "title": data.title,
        "command": data.command,
        "n_rows": len(data.records),
        "verdict": say_verdict(data.records),
        "remarks": list(data.remarks),
        "remark_details": list(data.remark_details),
        "columns": [column for column in columns if column["kind"] != "empty"],
        "above_table": [
            *describe_goals(data.properties, data.options),
            describe_rows(columns),
        ],
        "table_note": note,
        "properties": [_property(spec, data) for spec in data.properties],
        "n_failed": sum(reason["count"] for reason in reasons) - n_filtered,
        "n_filtered": n_filtered,
        "n_fast_only": sum(r["status"] == FAST_ONLY for r in data.records),
        "failures": reasons[:MAX_REASONS],
        "failures_left": max(0, len(reasons) - MAX_REASONS),
        "structures": structures,
        "structures_note": (
            f"The report keeps {len(structures)}: those of the first rows, at most "
            f"{MAX_STRUCTURES}, of up to {MAX_ATOMS} atoms."
        ),
        "elements": {
            "seen": _elements(data.records),
            "trained": (
                None
                if data.training_elements is None
                else sorted(data.training_elements)
            ),
            "styles": {symbol: element_style(symbol) for symbol in sorted(symbols)},
        },
        "map": _map(data),
        "molecules": bool(structures)
        and all(scene["cell"] is None for scene in structures.values()),
        "cards": [_asked(as_json(card), data.properties) for card in data.model_cards],
    }


def _asked(card: dict[str, Any], properties: Sequence[PropertySpec]) -> dict[str, Any]:
    """Return a card with those of its properties that the report is about."""
    heads = card.get("properties") or {}
    asked = {spec.name: heads[spec.name] for spec in properties if spec.name in heads}
    return card | {"properties": asked}


def _property(spec: PropertySpec, data: ReportData) -> dict[str, Any]:
    """Return a property with the bins of its histogram and the training set in them."""
    values = [record.get(spec.name) for record in data.records]
    predicted = np.array([v for v in values if v is not None], dtype=float)
    targets = np.asarray(data.training_targets.get(spec.name, ()), dtype=float)
    both = [part[np.isfinite(part)] for part in (predicted, targets)]
    found: dict[str, Any] = {"name": spec.name, "label": spec.label, "unit": spec.unit}
    ends = [np.percentile(part, [0.5, 99.5]) for part in both if part.size]
    if not ends:
        return found | {"edges": None, "training": None}
    # a few far values must not press all others into one bin
    low, high = float(np.min(ends)), float(np.max(ends))
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, N_BINS + 1)
    counts, _ = np.histogram(np.clip(both[1], low, high), edges)
    training = counts.tolist() if both[1].size else None
    return found | {"edges": edges.tolist(), "training": training}


def _failures(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    counts = Counter(
        (str(record["status"]), str(record.get("reason") or ""))
        for record in records
        if record["status"] not in ("ok", FAST_ONLY)
    )
    return [
        {"status": status, "reason": reason, "count": n}
        for (status, reason), n in counts.most_common()
    ]


def _elements(records: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Return in how many candidates each element occurs."""
    counts = Counter(str(record.get("formula") or "") for record in records)
    seen: Counter[str] = Counter()
    for formula, n in counts.items():
        for symbol in set(re.findall(r"[A-Z][a-z]?", formula)) & atomic_numbers.keys():
            seen[symbol] += n
    return dict(sorted(seen.items()))


def _structures(structures: Mapping[int, Atoms]) -> dict[int, dict[str, Any]]:
    positions = (k for k in sorted(structures) if len(structures[k]) <= MAX_ATOMS)
    kept = [k for k, _ in zip(positions, range(MAX_STRUCTURES), strict=False)]
    return {k: build_scene(structures[k]) for k in kept}


def _map(data: ReportData) -> dict[str, Any] | None:
    embedding = data.embedding
    if embedding is None:
        return None
    reference, candidates = (
        points.astype(float).round(4).T.tolist()
        for points in (embedding.reference, embedding.candidates)
    )
    return {
        "rows": [int(row) for row in data.embedded],
        "x": candidates[0],
        "y": candidates[1],
        "reference": dict(zip("xy", reference, strict=True)),
        "description": embedding.description,
        "axes": embedding.axes,
    }
