"""A diagnosis as tables, a page, a picture or numbers."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from mftscreen.diagnostics.diagnosis import Diagnosis
from mftscreen.diagnostics.drift import IndependentDrift
from mftscreen.diagnostics.finding import say_finding
from mftscreen.diagnostics.pages import (
    check_output,
    drift_table,
    findings,
    left_out,
    separation_table,
    write_diagnosis,
    write_numbers,
)
from mftscreen.errors import DataError

NO_EDGES = "0 edges of bonded atoms; at least 10 needed"


def without_clusters(diagnosis: Diagnosis) -> Diagnosis:
    data_sets = [
        replace(found, atoms=None, edges=None, no_atoms="too few", no_edges=NO_EDGES)
        for found in diagnosis.data_sets
    ]
    return replace(diagnosis, data_sets=tuple(data_sets))


def test_tables_have_the_numbers_of_the_diagnosis(diagnosis: Diagnosis) -> None:
    first, second = diagnosis.data_sets
    heading, *rows = drift_table(diagnosis)
    assert [row[0] for row in rows] == ["crystals and water", "atoms"]
    assert {len(row) for row in rows} == {len(heading)}
    assert rows[0][1:4] == ["ft", "78", "40"]
    assert float(rows[0][4]) == pytest.approx(first.drift["ft"].w1, rel=1e-3)
    assert heading[4:] == ["W1 same atoms", "spread"]
    heading, *rows = separation_table(diagnosis)
    # the second set has no edges
    assert [tuple(row[:3]) for row in rows] == [
        (found.name, what, space)
        for found, whats in ((first, ("atoms", "edges")), (second, ("atoms",)))
        for what in whats
        for space in ("t-SNE plane", "descriptor")
    ]
    assert {row[3] for row in rows} == {"ft"}
    ratio, _, sd = rows[0][6].partition(" ± ")
    expected = first.atoms.on_plane("ft")
    assert float(ratio) == pytest.approx(expected.ratio, rel=1e-2)
    assert float(sd) == pytest.approx(expected.sd, rel=0.1)
    assert left_out(diagnosis) == [("atoms, edges", NO_EDGES)]


def test_independent_draws_have_columns_if_they_were_measured(
    diagnosis: Diagnosis,
) -> None:
    first, second = diagnosis.data_sets
    drift = replace(first.drift["ft"], independent=IndependentDrift(3.0, 1.5, 39))
    measured = replace(
        diagnosis, data_sets=(replace(first, drift={"ft": drift}), second)
    )
    heading, *rows = drift_table(measured)
    assert heading[4:] == [
        "W1 same atoms", "W1 independent", "without drift", "spread",
    ]  # fmt: skip
    assert [row[5:7] for row in rows] == [["3", "1.5"], ["-", "-"]]


def test_several_models_have_a_sentence_each(diagnosis: Diagnosis) -> None:
    (alone,) = findings(diagnosis)
    assert alone == say_finding(diagnosis, "ft")
    first = diagnosis.data_sets[0]
    drift = {"ft": first.drift["ft"], "mft": replace(first.drift["ft"], w1=0.0)}
    both = replace(
        diagnosis,
        fine_tuned=dict.fromkeys(drift, diagnosis.fine_tuned["ft"]),
        data_sets=(replace(first, drift=drift, atoms=None),),
    )
    sentences = findings(both)
    assert [sentence[:5] for sentence in sentences] == ["ft: W", "mft: "]
    assert "no atom has drifted" in sentences[1]


def test_page_has_a_picture_of_each_comparison_and_no_markup_of_names(
    diagnosis: Diagnosis, tmp_path: Path
) -> None:
    name = "<b>water</b>"
    first, second = diagnosis.data_sets
    renamed = replace(diagnosis, data_sets=(replace(first, name=name), second))
    write_diagnosis(renamed, tmp_path / "page.html", "mftscreen 'a & b'")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert text.count("data:image/png;base64,") == 3
    assert name not in text
    assert "&lt;b&gt;water&lt;/b&gt;" in text
    assert "a &amp; b" in text
    assert f"not compared: {NO_EDGES}" in text
    sentence = re.search(r'<p class="finding">([^<]*)</p>', text)
    assert sentence is not None
    assert html.unescape(sentence[1]) == say_finding(renamed, "ft")
    assert not re.search(r"<script|https?://(?!www\.w3\.org)", text)


def test_page_without_plots_is_written_and_a_picture_is_not(
    diagnosis: Diagnosis, tmp_path: Path
) -> None:
    bare = without_clusters(diagnosis)
    write_diagnosis(bare, tmp_path / "page.html", "")
    assert "too few" in (tmp_path / "page.html").read_text(encoding="utf-8")
    picture = tmp_path / "plots.png"
    picture.write_bytes(b"an older one")
    with pytest.raises(DataError, match="nothing to plot: crystals and water, atoms: "):
        write_diagnosis(bare, picture, "")
    assert picture.read_bytes() == b"an older one"


def test_numbers_are_those_of_the_diagnosis(
    diagnosis: Diagnosis, tmp_path: Path
) -> None:
    path = tmp_path / "all.json"
    path.write_text("an older one, which is longer" * 1000)
    write_numbers(diagnosis, path, "mftscreen diagnose")
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document.pop("command") == "mftscreen diagnose"
    assert document == json.loads(json.dumps(diagnosis.to_dict()))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("report.pdf", r"expected \.html or \.png"),
        ("report", r"expected \.html or \.png"),
        ("no/report.png", "is not a folder"),
    ],
)
def test_outputs_that_could_not_be_written(
    tmp_path: Path, name: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        check_output(tmp_path / name)
