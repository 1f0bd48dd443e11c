"""A diagnosis as a table, one HTML page that needs nothing else, or a picture."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from string import Template

import numpy as np

from mftscreen.diagnostics.clusters import Separation
from mftscreen.diagnostics.diagnosis import Diagnosis
from mftscreen.diagnostics.finding import say_finding
from mftscreen.diagnostics.plots import with_spread
from mftscreen.errors import DataError
from mftscreen.writing import check_place, output_file

__all__ = [
    "check_output",
    "drift_table",
    "findings",
    "left_out",
    "separation_table",
    "write_diagnosis",
    "write_numbers",
]

FORMATS = (".html", ".png")

Table = list[list[str]]


def check_output(path: Path, formats: Sequence[str] = FORMATS) -> None:
    """Raise if `path` could not be written; worth knowing before a long run.

    Raises
    ------
    DataError
        If the ending is not one of `formats`, or there is no such folder.
    """
    if path.suffix not in formats:
        msg = f"unknown format of a report; expected {' or '.join(formats)}"
        raise DataError(msg, path=path)
    check_place(path)


def drift_table(diagnosis: Diagnosis) -> Table:
    """Return a heading and a row for each data set and model: what moved how far.

    The columns of independent draws are there if they were measured.
    """
    drawn = any(
        d.independent for found in diagnosis.data_sets for d in found.drift.values()
    )
    rows = [
        ["data set", "model", "atoms", "sampled", "W1 same atoms"]
        + ["W1 independent", "without drift"] * drawn
        + ["spread"]
    ]
    for found in diagnosis.data_sets:
        for model, drift in found.drift.items():
            other = drift.independent
            draws = (
                ["-", "-"]
                if other is None
                else [f"{other.w1:.4g}", f"{other.floor:.4g}"]
            )
            rows.append(
                [
                    found.name,
                    model,
                    str(found.n_atoms),
                    str(drift.n_atoms),
                    f"{drift.w1:.4g}",
                ]
                + draws * drawn
                + [f"{drift.spread:.4g}"]
            )
    return rows


def separation_table(diagnosis: Diagnosis) -> Table:
    """Return a heading and a row for each model, data set and space.

    Davies-Bouldin indices are means over samples, with standard deviations.
    """
    rows = [["data set", "of", "space", "model", "pretrained", "fine-tuned", "ratio"]]
    for found in diagnosis.data_sets:
        for what, comparison in (("atoms", found.atoms), ("edges", found.edges)):
            if comparison is None:
                continue
            for model in comparison.fine_tuned:
                spaces = {
                    "t-SNE plane": comparison.on_plane(model),
                    "descriptor": comparison.in_descriptor(model),
                }
                rows += [
                    [found.name, what, space, model, *_texts(db)]
                    for space, db in spaces.items()
                ]
    return rows


def _texts(db: Separation) -> list[str]:
    ratio = with_spread(db.ratio, db.sd)
    return [_mean(db.pretrained), _mean(db.fine_tuned), ratio]


def _mean(indices: Sequence[float]) -> str:
    if not indices:
        return "-"
    sd = float(np.std(indices, ddof=1)) if len(indices) > 1 else None
    return with_spread(float(np.mean(indices)), sd)


def write_diagnosis(diagnosis: Diagnosis, path: Path, command: str) -> None:
    """Write a report.

    Parameters
    ----------
    diagnosis : Diagnosis
    path : Path
        ``.html`` (self-contained, without scripts) or ``.png`` (the plots alone). An
        existing file is replaced once the new one is complete.
    command : str
        What made it; shown on the page.

    Raises
    ------
    DataError
        As :func:`check_output`, if the file cannot be written, or if a picture is asked
        for and there is nothing to plot.
    """
    from mftscreen.diagnostics.plots import (
        draw_comparisons,
        picture,
        titled_comparisons,
    )

    check_output(path)
    titled = titled_comparisons(diagnosis.data_sets)
    if path.suffix == ".png":
        if not titled:
            reasons = "; ".join(f"{name}: {why}" for name, why in left_out(diagnosis))
            msg = f"there is nothing to plot: {reasons}"
            raise DataError(msg, path=path)
        content = picture(draw_comparisons(titled))
    else:
        plots = [(each.title, picture(draw_comparisons([each]))) for each in titled]
        content = _page(diagnosis, command, plots).encode()
    with output_file(path) as partial:
        partial.write_bytes(content)


def write_numbers(diagnosis: Diagnosis, path: Path, command: str) -> None:
    """Write all numbers as JSON.

    Parameters
    ----------
    diagnosis : Diagnosis
    path : Path
        An existing file is replaced once the new one is complete.
    command : str
        What made it.

    Raises
    ------
    DataError
        If the file cannot be written.
    """
    document = {"command": command, **diagnosis.to_dict()}
    text = json.dumps(document, indent=2, allow_nan=False)
    with output_file(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")


def findings(diagnosis: Diagnosis) -> list[str]:
    """Return what was found of each model in a sentence, with its name if needed."""
    models = list(diagnosis.fine_tuned)
    return [
        f"{model}: {sentence}" if len(models) > 1 else sentence
        for model in models
        for sentence in (say_finding(diagnosis, model),)
    ]


def left_out(diagnosis: Diagnosis) -> list[tuple[str, str]]:
    """Return what could not be compared, such as ``ood, edges``, and why."""
    return [
        (f"{found.name}, {what}", reason)
        for found in diagnosis.data_sets
        for what, reason in (("atoms", found.no_atoms), ("edges", found.no_edges))
        if reason
    ]


def _page(
    diagnosis: Diagnosis, command: str, plots: Sequence[tuple[str, bytes]]
) -> str:
    options = diagnosis.options
    times = f"{options.n_repeats} times " if options.n_repeats > 1 else ""
    facts = [
        ("command", command),
        ("pretrained", diagnosis.pretrained.source),
        ("its sha256", diagnosis.pretrained.sha256),
        *(
            fact
            for name, model in diagnosis.fine_tuned.items()
            for fact in ((name, model.source), ("its sha256", model.sha256))
        ),
        (
            "samples",
            f"up to {options.n_atoms} atoms for W1; for the clusters {times}up to "
            f"{options.n_samples} of each of the {options.n_environments} most "
            "frequent environments and of each kind of edge",
        ),
        ("seed", str(options.seed)),
        *((what, f"not compared: {why}") for what, why in left_out(diagnosis)),
    ]
    template = files("mftscreen.diagnostics") / "report_page.html"
    return Template(template.read_text("utf-8")).substitute(
        title=html.escape(f"Representations of {', '.join(diagnosis.fine_tuned)}"),
        findings="".join(
            f'<p class="finding">{html.escape(sentence)}</p>'
            for sentence in findings(diagnosis)
        ),
        facts="".join(
            f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>"
            for name, value in facts
        ),
        drift=_table(drift_table(diagnosis)),
        separation=_table(separation_table(diagnosis)),
        plots="\n".join(
            f'<div class="wide"><img alt="{html.escape(title)}" '
            f'src="data:image/png;base64,{base64.b64encode(image).decode()}"></div>'
            for title, image in plots
        ),
    )


def _table(rows: Table) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        inner = "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells)
        return f"<tr>{inner}</tr>"

    head, *body = rows
    lines = [line(head, "th"), *(line(cells, "td") for cells in body)]
    return f"<table>{''.join(lines)}</table>"
