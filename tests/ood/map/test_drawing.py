"""Maps in files: both kinds show every point."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mftscreen.errors import DataError
from mftscreen.ood.map.drawing import check_map_output, write_map
from mftscreen.ood.map.embedding import Embedding, MapPoint

REFERENCE = [MapPoint(f"r{k}", "NaCl", (k + 1) / 20, k == 0) for k in range(20)]


CANDIDATES = [
    MapPoint("c<0>", "CuTe", 0.001, True),
    MapPoint("c1", "MgO", 0.6, False),
    MapPoint("c2", "CaO", 0.9, True),
]


POSITIONS = Embedding(
    np.random.default_rng(0).normal(size=(20, 2)),
    np.array([[9.0, 9.0], [0.0, 1.0], [2.0, 3.0]]),
    "made up",
    ("x", "y"),
)


def traces(path: Path) -> list[dict]:
    text = path.read_text(encoding="utf-8")
    start = text.rindex("Plotly.newPlot(")
    data = text.index("[", text.index(",", start))
    return json.JSONDecoder().raw_decode(text[data:])[0]


@pytest.mark.parametrize("candidates", [[], CANDIDATES], ids=["alone", "candidates"])
def test_html_is_self_contained_and_tells_each_point(
    tmp_path: Path, candidates: list[MapPoint]
) -> None:
    pytest.importorskip("plotly")
    path = tmp_path / "map.html"
    write_map(path, "a title\nof two lines", POSITIONS, REFERENCE, candidates)
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"<script[^>]+src=", text)
    assert "a title" in text
    drawn = [trace for trace in traces(path) if "customdata" in trace]
    names = [trace["name"] for trace in drawn]
    # the legend has a mark of each kind, which is of one colour
    keys = [trace for trace in traces(path) if "customdata" not in trace]
    assert [trace["name"] for trace in keys] == names
    assert all(isinstance(trace["marker"]["color"], str) for trace in keys)
    told = sorted(row for trace in drawn for row in trace["customdata"])
    expected = [*REFERENCE, *candidates]
    assert told == sorted([p.id, p.formula, f"{p.p_value:.3g}"] for p in expected)
    if candidates:
        assert names == ["reference (20)", "candidates (1)", "candidates, flagged (2)"]
        # the lowest p-value is drawn last, so on top
        assert [row[0] for row in drawn[2]["customdata"]] == ["c2", "c<0>"]
        assert drawn[2]["marker"]["line"]["width"] > 0
        assert drawn[1]["marker"]["line"]["width"] == 0
    else:
        assert names == ["reference (19)", "reference, flagged (1)"]


@pytest.mark.slow
@pytest.mark.parametrize("candidates", [[], CANDIDATES], ids=["alone", "candidates"])
def test_a_browser_has_no_complaints(
    browser: Any, tmp_path: Path, candidates: list[MapPoint]
) -> None:
    pytest.importorskip("plotly")
    path = tmp_path / "map.html"
    write_map(path, "<b>title</b>", POSITIONS, REFERENCE, candidates)
    page = browser.new_page(viewport={"width": 375, "height": 700})
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "request",
        lambda request: (
            request.url.startswith(("file:", "data:", "blob:"))
            or complaints.append(f"asked for {request.url}")
        ),
    )
    page.goto(path.as_uri())
    page.wait_for_selector(".legend .traces", timeout=60_000)
    assert page.locator("h1").inner_text() == "<b>title</b>"
    assert page.evaluate("document.documentElement.scrollWidth") == 375
    light = page.evaluate("map.layout.font.color")
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"map.layout.font.color !== '{light}'")
    page.close()
    # software WebGL says that it is slow
    assert [said for said in complaints if "GPU stall" not in said] == []


@pytest.mark.parametrize("candidates", [[], CANDIDATES], ids=["alone", "candidates"])
def test_png_shows_points_without_touching_pyplot(
    tmp_path: Path, candidates: list[MapPoint]
) -> None:
    from matplotlib.image import imread

    loaded = "matplotlib.pyplot" in sys.modules
    path = tmp_path / "map.png"
    write_map(path, "a$\\frac$ title", POSITIONS, REFERENCE, candidates)
    assert ("matplotlib.pyplot" in sys.modules) == loaded
    picture = imread(path)[:, :, :3]
    grey = np.array([0xB8, 0xBC, 0xC2]) / 255
    shown = (abs(picture - grey).max(axis=2) < 0.01).sum() > 50
    assert shown == bool(candidates)
    # dark violet, the lowest p-value of the colour scale, is among the points
    violet = (abs(picture - [0.267, 0.005, 0.329]).max(axis=2) < 0.02).sum()
    assert violet > 50


def test_output_is_checked_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match=r"expected \.html or \.png"):
        check_map_output(tmp_path / "map.pdf")
    with pytest.raises(DataError, match="is not a folder"):
        check_map_output(tmp_path / "missing" / "map.png")
    monkeypatch.setattr("mftscreen.ood.map.drawing.find_spec", lambda name: None)
    check_map_output(tmp_path / "map.png")
    with pytest.raises(DataError, match=r"pip install 'mftscreen\[report\]'"):
        check_map_output(tmp_path / "map.html")


def test_file_that_cannot_be_written(tmp_path: Path) -> None:
    path = tmp_path / "map.png"
    path.mkdir()
    with pytest.raises(DataError, match=r"map\.png: cannot be written"):
        write_map(path, "a title", POSITIONS, REFERENCE, CANDIDATES)
