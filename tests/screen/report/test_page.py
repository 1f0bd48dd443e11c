"""Reports: what is written, and what a real browser makes of it."""

from __future__ import annotations

import base64
import gzip
import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from mftscreen.errors import DataError
from mftscreen.ood.map.embedding import Embedding
from mftscreen.properties import PropertySpec
from mftscreen.screen.order.goals import parse_goals
from mftscreen.screen.order.rank_options import RankOptions
from mftscreen.screen.report.page import (
    MAX_ATOMS,
    MAX_REASONS,
    MAX_STRUCTURES,
    ReportData,
    build_report,
    check_report_output,
)

pytest.importorskip("plotly", reason="reports need plotly")

INDEX = PropertySpec(name="n_opt", label="refractive index")
GAP = PropertySpec(name="gap", label="band <b>gap</b>", unit="eV")
HOSTILE = "</script><img src=x onerror='window.pwned=1'><script>window.pwned=2</script>"
COLUMNS = [
    "rank", "id", "formula", "n_opt", "gap", "gap_unit", "gap_low", "gap_high", "trust",
    "ood_p_value", "ood", "relax_converged", "duplicate_of", "status", "reason",
    "model",
]  # fmt: skip
OPTIONS = RankOptions(parse_goals(["n_opt:max", "gap:min"]))


def record(k: int) -> dict[str, Any]:
    """Return the record of a candidate; every tenth is flagged."""
    return {
        "rank": k + 1,
        "id": f"c-{k}",
        "formula": "NaCl" if k % 2 else "MgO",
        "n_opt": 5.0 - 0.01 * k,
        "gap": np.float32(1.0 + (k * 7 % 11)),
        "gap_unit": "eV",
        "gap_low": None if k % 10 == 9 else 0.5 + (k * 7 % 11),
        "gap_high": None if k % 10 == 9 else 1.5 + (k * 7 % 11),
        "trust": "flagged" if k % 10 == 9 else "ok",
        "ood_p_value": 0.01 if k % 10 == 9 else 0.2 + 0.001 * k,
        "ood": np.bool_(k % 10 == 9),
        "relax_converged": k % 4 > 0,
        "duplicate_of": "",
        "status": "ok",
        "reason": "",
        "model": "m0123",
    }


def failure(name: str, reason: str) -> dict[str, Any]:
    blank = dict.fromkeys(COLUMNS)
    return blank | {
        "id": name, "formula": "FrRn", "status": "unknown_element", "reason": reason,
    }  # fmt: skip


def make_data(n: int = 200) -> ReportData:
    """Return a report of `n` predicted candidates and three failed ones."""
    rng = np.random.default_rng(0)
    crystals = [bulk("MgO", "rocksalt", a=4.2), bulk("NaCl", "rocksalt", a=5.6)]
    failures = [failure("bad-1", "no Fr"), failure("bad-2", "no Fr")]
    return ReportData(
        title="A & B <i>screening</i>",
        command="mftscreen rank 'a & b.db' --property n_opt -o run",
        columns=COLUMNS,
        records=[*map(record, range(n)), *failures, failure(HOSTILE, HOSTILE)],
        properties=[INDEX, GAP],
        options=OPTIONS,
        model_cards=[
            {
                "name": HOSTILE,
                "properties": {
                    "gap": {"metrics": {"mae": 0.25}},
                    "other": {"metrics": {"mae": 0.5}},
                },
            },
            {"name": "second"},
        ],
        remarks=["The intervals may be <b>too narrow</b>."],
        remark_details=["D = 0.2"],
        structures={k: crystals[k % 2] for k in range(n)},
        training_targets={"n_opt": rng.normal(3.0, 1.0, 500)},
        training_elements={"Mg", "O", "Na"},
        embedding=Embedding(
            rng.normal(size=(80, 2)), rng.normal(size=(n, 2)), "PCA", ("x", "y")
        ),
        embedded=range(n),
    )


def read_payload(path: Path) -> dict[str, Any]:
    """Return the data in a report."""
    packed = re.search(r'id="data">([^<]*)<', path.read_text("utf-8"))
    assert packed is not None
    found = json.loads(gzip.decompress(base64.b64decode(packed[1])))
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    build_report(make_data(), path)
    return path


def test_page_holds_every_row_and_no_text_of_theirs_as_markup(report: Path) -> None:
    found = read_payload(report)
    columns = {column["name"]: column for column in found["columns"]}
    assert columns["id"]["values"][:2] == ["c-0", "c-1"]
    assert columns["id"]["values"][-1] == HOSTILE
    assert columns["gap"]["kind"] == "number"
    assert columns["relax_converged"]["values"][3:5] == [True, False]
    assert columns["trust"]["values"][8:10] == ["ok", "flagged"]
    assert "duplicate_of" not in columns  # nothing in it
    assert "duplicate_of" in found["table_note"]
    text = report.read_text("utf-8")
    assert "pwned" not in text
    assert "A &amp; B &lt;i&gt;" in text
    # the page's own: data, plotly and the program
    assert text.count("<script") == text.count("</script") == 3


def test_failures_are_counted_by_reason(report: Path) -> None:
    assert read_payload(report)["failures"] == [
        {"status": "unknown_element", "reason": "no Fr", "count": 2},
        {"status": "unknown_element", "reason": HOSTILE, "count": 1},
    ]


def test_what_was_left_out_has_not_failed(tmp_path: Path) -> None:
    filtered = failure("left-1", "excluded elements: Fr") | {"status": "filtered"}
    data = make_data(2)
    build_report(replace(data, records=[*data.records, filtered]), tmp_path / "r.html")
    found = read_payload(tmp_path / "r.html")
    assert (found["n_rows"], found["n_failed"], found["n_filtered"]) == (6, 3, 1)
    assert [reason["status"] for reason in found["failures"]].count("filtered") == 1


def test_what_one_model_alone_has_seen_has_not_failed(tmp_path: Path) -> None:
    seen = failure("fast-1", "seen by the fast model only") | {"status": "fast_only"}
    data = make_data(2)
    build_report(replace(data, records=[*data.records, seen]), tmp_path / "r.html")
    found = read_payload(tmp_path / "r.html")
    assert (found["n_rows"], found["n_failed"], found["n_fast_only"]) == (6, 3, 1)
    assert [r for r in found["failures"] if r["status"] == "fast_only"] == []


def test_failures_beyond_those_listed_are_counted(tmp_path: Path) -> None:
    records = [failure(f"bad-{k}", f"reason {k}") for k in range(MAX_REASONS + 5)]
    build_report(replace(make_data(0), records=records), tmp_path / "r.html")
    found = read_payload(tmp_path / "r.html")
    assert len(found["failures"]) == MAX_REASONS
    assert found["failures_left"] == 5
    assert found["n_failed"] == MAX_REASONS + 5


def test_elements_are_counted_in_candidates(report: Path) -> None:
    elements = read_payload(report)["elements"]
    assert elements["seen"] == {
        "Cl": 100, "Fr": 3, "Mg": 100, "Na": 100, "O": 100, "Rn": 3,
    }  # fmt: skip
    assert elements["trained"] == ["Mg", "Na", "O"]


def test_histogram_counts_every_target_and_none_that_is_unknown(report: Path) -> None:
    index, gap = read_payload(report)["properties"]
    assert sum(index["training"]) == 500
    assert len(index["edges"]) == len(index["training"]) + 1
    assert gap["training"] is None
    # wide enough for the predictions
    assert gap["edges"][0] == pytest.approx(1.0)
    assert gap["edges"][-1] == pytest.approx(11.0)


def test_numbers_that_are_not_finite_become_unknown(tmp_path: Path) -> None:
    records = [record(0) | {"n_opt": np.nan}, record(1) | {"n_opt": np.float64(1e6)}]
    data = replace(make_data(2), records=records)
    build_report(data, tmp_path / "r.html")
    columns = {c["name"]: c for c in read_payload(tmp_path / "r.html")["columns"]}
    assert columns["n_opt"]["values"] == [None, 1e6]


def test_equal_data_give_equal_pages(report: Path, tmp_path: Path) -> None:
    build_report(make_data(), tmp_path / "again.html")
    assert (tmp_path / "again.html").read_bytes() == report.read_bytes()


def test_only_the_first_structures_are_kept_and_no_huge_one(tmp_path: Path) -> None:
    n = MAX_STRUCTURES + 2
    structures = dict.fromkeys(range(n), Atoms("He"))
    structures[1] = Atoms("He" * (MAX_ATOMS + 1))
    data = replace(make_data(n), structures=structures)
    build_report(data, tmp_path / "r.html")
    found = read_payload(tmp_path / "r.html")
    assert list(map(int, found["structures"])) == [0, *range(2, n - 1)]
    assert f"keeps {MAX_STRUCTURES}" in found["structures_note"]


@pytest.mark.parametrize(
    ("name", "message"),
    [("r.pdf", "expected .html"), ("none/r.html", "is not a folder")],
)
def test_an_impossible_output_is_named(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        check_report_output(tmp_path / name)


def test_an_output_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    path = tmp_path / f"{'r' * 300}.html"
    with pytest.raises(DataError, match="cannot be written: File name too long"):
        build_report(make_data(1), path)


# -- in a browser ---------------------------------------------------------------------


def open_page(browser: Any, path: Path) -> Any:
    """Return a page that has loaded; any complaint is added to ``page.complaints``."""
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.complaints = []
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on(
        "console",
        lambda message: (
            message.type == "error" or message.text.startswith("WARN")
        ) and page.complaints.append(message.text),
    )  # fmt: skip
    page.on(
        "request",
        lambda request: (
            request.url.startswith(("file:", "data:", "blob:"))
            or page.complaints.append(f"asked for {request.url}")
        ),
    )
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-ready]", timeout=60_000)
    return page


@pytest.fixture
def page(browser: Any, report: Path) -> Iterator[Any]:
    opened = open_page(browser, report)
    yield opened
    assert opened.complaints == []
    opened.close()


def column(page: Any, name: str) -> list[str]:
    """Return the texts of a column in the rows that are in the document."""
    headings = page.locator("#table th")
    names = headings.evaluate_all("cells => cells.map((cell) => cell.dataset.column)")
    cells = f"#table tr[data-row] td:nth-child({names.index(name) + 1})"
    return list(page.locator(cells).all_inner_texts())


def selected_id(page: Any) -> str:
    return str(page.locator("#details dt:text-is('id') + dd").inner_text())


@pytest.mark.slow
def test_page_opens_with_all_its_parts_and_runs_nothing_hostile(page: Any) -> None:
    assert page.locator("h1").inner_text() == "A & B <i>screening</i>"
    assert page.locator("#command").inner_text() == make_data().command
    assert page.locator("#alarm").is_hidden()
    summary = page.locator("#summary").inner_text()
    assert re.findall(r"\d+", summary) == ["203", "200", "20", "3"]
    for chart in ("scatter", "map", "distribution"):
        assert page.locator(f"#{chart} .main-svg").count() > 0
    new = page.locator("#elements .element.new").all_inner_texts()
    assert new == ["Cl\n100", "Rn\n3", "Fr\n3"]
    assert page.locator("#verdict").inner_text() == (
        "200 of 203 candidates have a value; 20 of them are unlike what the model has "
        "learned from, 2 of the best 20 among these."
    )
    assert page.locator("#remarks").inner_text() == make_data().remarks[0]
    assert not page.get_by_text("D = 0.2").is_visible()
    page.get_by_text("What that rests on").click()
    assert page.get_by_text("D = 0.2").is_visible()
    goals = page.locator("#goals").inner_text()
    assert "n_opt: refractive index; the higher the better" in goals
    assert "gap: band <b>gap</b> in eV; the lower the better" in goals
    assert "The same in all rows: model m0123." in goals
    assert page.locator("th[data-column=model]").count() == 0
    assert "second" in page.locator("#card").inner_text()
    page.select_option("#property", "gap")
    assert "band <b>gap</b> (eV)" in page.locator("#scatter .ytitle").inner_html(
        timeout=5000
    ).replace("&lt;", "<").replace("&gt;", ">")
    page.locator("#failures button").last.click()
    page.wait_for_function("shown.textContent.startsWith('3 of')")
    page.locator("#table tr[data-row]").last.click()
    assert selected_id(page) == HOSTILE
    assert page.locator("img[src=x]").count() == 0
    assert page.evaluate("window.pwned") is None


@pytest.mark.slow
def test_policy_stops_scripts_and_requests_that_are_not_the_page_s(
    browser: Any, report: Path
) -> None:
    page = open_page(browser, report)
    page.evaluate(
        """async () => {
            const script = document.createElement("script");
            script.textContent = "window.pwned = 1";
            document.head.append(script);
            await fetch("https://example.org/").catch(() => (window.refused = true));
        }"""
    )
    assert page.evaluate("[window.pwned, window.refused]") == [None, True]
    assert any("Content Security Policy" in said for said in page.complaints)
    page.close()


@pytest.mark.slow
def test_sorting_begins_with_the_best_and_keeps_empty_cells_last(page: Any) -> None:
    # high is good
    page.locator("th[data-column=n_opt] button").click()
    assert column(page, "n_opt")[:2] == ["5.000", "4.990"]
    header = page.locator("th[data-column=n_opt]")
    assert header.get_attribute("aria-sort") == "descending"
    page.locator("th[data-column=n_opt] button").click()
    assert column(page, "n_opt")[:2] == ["3.010", "3.020"]
    assert header.get_attribute("aria-sort") == "ascending"
    page.locator("#table").evaluate("box => (box.scrollTop = box.scrollHeight)")
    page.wait_for_function("document.querySelector('tr[data-row=\"202\"]')")
    assert column(page, "n_opt")[-4:] == ["5.000", "", "", ""]
    # low is good, of intervals the high end
    page.locator("th[data-column=gap] button").click()
    assert column(page, "gap")[0] == "1"
    page.locator("th[data-column=gap_interval] button").click()
    assert column(page, "gap_interval")[0] == "0.50 – 1.50"
    page.locator("th[data-column=trust] button").click()
    assert column(page, "trust")[0] == "ok"
    page.locator("th[data-column=trust] button").click()
    assert column(page, "trust")[0] == "flagged"
    # numbers in text by size, not by their first digit
    page.locator("th[data-column=id] button").click()
    assert column(page, "id")[2:5] == ["bad-2", "c-0", "c-1"]


@pytest.mark.slow
def test_sorting_begins_with_what_is_closest_to_a_target(
    browser: Any, tmp_path: Path
) -> None:
    options = RankOptions(parse_goals(["n_opt=4.45..4.55", "gap>=3"]))
    build_report(replace(make_data(), options=options), tmp_path / "r.html")
    page = open_page(browser, tmp_path / "r.html")
    # a bound alone makes no value better than another, so that there is no front
    names = page.evaluate("pareto.data.map((trace) => trace.name)")
    assert [name.split()[0] for name in names] == ["like", "flagged:"]
    assert (
        "gap: band <b>gap</b> in eV; at least 3" in page.locator("#goals").inner_text()
    )
    page.locator("th[data-column=n_opt] button").click()
    assert column(page, "n_opt")[:3] == ["4.500", "4.510", "4.490"]
    assert "wanted from 4.45 to 4.55" in page.locator("#goals").inner_text()
    assert page.complaints == []
    page.close()


FILTERS = [
    ("n_opt", ">=4.99", 2),
    ("n_opt", "4.95..4.975", 3),
    ("n_opt", " < 3.02 ", 1),
    ("n_opt", "5", 1),
    ("gap_interval", "0..2", 18),
    ("gap_interval", "2.25", 16),
    ("gap_interval", "> 9", 32),
    ("trust", "flagged", 20),
    ("relax_converged", "y", 150),
    ("relax_converged", "no", 50),
    ("id", "C-19", 11),
    ("id", "=c-19", 1),
    ("status", "unknown", 3),
    ("formula", "Mg", 100),
    ("formula", "O -Na", 100),
    ("formula", "C", 0),
    ("formula", "MgCl", 0),
    ("formula", "=NaCl", 100),
]


@pytest.mark.slow
def test_filters_hold_for_the_table_and_the_chart(page: Any) -> None:
    for name, text, n_rows in FILTERS:
        page.fill(f"th[data-column={name}] input", text)
        page.wait_for_function(f"shown.textContent === '{n_rows} of 203 rows'")
        if n_rows < 15:
            assert len(column(page, name)) == n_rows
        drawn = page.evaluate("scatter.data.flatMap((trace) => [...trace.x]).length")
        assert drawn == (0 if name == "status" else n_rows)
        page.click("#clear")
        page.wait_for_function("shown.textContent === '203 of 203 rows'")
    page.fill("th[data-column=trust] input", "=flagged")
    page.fill("th[data-column=n_opt] input", ">4")
    page.wait_for_function("shown.textContent === '10 of 203 rows'")
    page.click("#clear")
    page.click("#trusted")
    page.wait_for_function("shown.textContent === '180 of 203 rows'")
    page.click("#trusted")
    page.wait_for_function("shown.textContent === '203 of 203 rows'")


UNREADABLE = [
    ("n_opt", "> x"),
    ("n_opt", "4,5"),
    ("n_opt", "3..2"),
    ("relax_converged", "nonsense"),
    ("formula", "Xx"),
    ("formula", "mg"),
]


@pytest.mark.slow
def test_a_filter_that_cannot_be_read_says_so_and_shows_nothing(page: Any) -> None:
    page.fill("th[data-column=id] input", "c-19")
    for name, text in UNREADABLE:
        page.fill(f"th[data-column={name}] input", text)
        page.wait_for_selector(f"th[data-column={name}] input[aria-invalid]")
        assert page.locator("#shown").inner_text() == "0 of 203 rows"
        assert page.locator("#table tr[data-row]").count() == 0
        assert f"“{text}”" in page.locator("#problem").inner_text()
        page.fill(f"th[data-column={name}] input", "")
        page.wait_for_function("shown.textContent === '11 of 203 rows'")
        assert page.locator("#problem").inner_text() == ""


@pytest.mark.slow
def test_a_click_on_an_element_filters_and_cobalt_is_no_oxygen(
    browser: Any, tmp_path: Path
) -> None:
    formulas = ["CoNi", "CoO", "MgO"]
    records = [record(k) | {"formula": name} for k, name in enumerate(formulas)]
    build_report(replace(make_data(0), records=records), tmp_path / "r.html")
    page = open_page(browser, tmp_path / "r.html")
    page.click("#elements [data-symbol=O]")
    assert column(page, "formula") == ["CoO", "MgO"]
    page.click("#elements [data-symbol=Co]")
    assert column(page, "formula") == ["CoO"]
    assert page.input_value("th[data-column=formula] input") == "O Co"
    pressed = page.locator("#elements [aria-pressed=true]")
    assert [text.split()[0] for text in pressed.all_inner_texts()] == ["O", "Co"]
    page.click("#elements [data-symbol=O]")
    assert column(page, "formula") == ["CoNi", "CoO"]
    assert page.complaints == []
    page.close()


@pytest.mark.slow
def test_what_matters_is_in_sight_on_a_laptop_and_on_a_phone(
    browser: Any, report: Path
) -> None:
    page = open_page(browser, report)
    for width, names in (
        (1280, ["rank", "id", "n_opt", "gap", "gap_interval", "trust", "reason"]),
        (375, ["rank", "formula", "n_opt", "gap", "trust"]),
    ):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") == width
        box = page.locator("#table").bounding_box()
        for name in names:
            cell = page.locator(f"th[data-column={name}]").bounding_box()
            assert cell["x"] + cell["width"] <= box["x"] + box["width"], (width, name)
    assert page.complaints == []
    page.close()


@pytest.mark.slow
def test_flagged_rows_are_tinted_on_light_and_on_dark_screens(
    browser: Any, report: Path
) -> None:
    page = open_page(browser, report)
    grounds = []
    labels = page.evaluate("scatter.layout.font.color")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        grounds += [
            page.locator(f"tr[data-row='{row}']").evaluate(
                "line => getComputedStyle(line).backgroundColor"
            )
            for row in (8, 9)
        ]
    assert grounds[0] == grounds[2] == "rgba(0, 0, 0, 0)"  # not flagged
    assert len({*grounds}) == 3
    # charts follow, once the page has heard of it
    page.wait_for_function(f"scatter.layout.font.color !== '{labels}'")
    assert "flagged" in page.locator("#tints").inner_text()
    assert page.complaints == []
    page.close()


@pytest.mark.slow
def test_two_goals_are_drawn_against_each_other_with_the_best_compromises(
    page: Any,
) -> None:
    front = page.evaluate("[pareto.data[0].x, pareto.data[0].y]")
    # the highest index has the lowest gap
    assert front == [[5.0], [1.0]]
    page.fill("th[data-column=n_opt] input", "<4.995")
    page.wait_for_function("shown.textContent === '199 of 203 rows'")
    x, y = page.evaluate("[pareto.data[0].x, pareto.data[0].y]")
    assert x == [4.89, 4.92, 4.95, 4.98, 4.99]
    assert y == [1.0, 2.0, 3.0, 4.0, 8.0]


@pytest.mark.slow
def test_the_card_is_folded_and_of_the_properties_asked_for(page: Any) -> None:
    assert not page.locator("#card .entries").first.is_visible()
    page.locator("#card summary").first.click()
    text = page.locator("#card").inner_text()
    assert "0.25" in text
    assert "other" not in text


@pytest.mark.slow
def test_a_click_on_a_point_selects_its_row(page: Any) -> None:
    for chart, row in (("scatter", 179), ("map", 169)):
        click_on(page, chart, row)


def click_on(page: Any, chart: str, row: int) -> None:
    box = page.locator(f"#{chart}")
    box.scroll_into_view_if_needed()
    # a flagged candidate far down in the table: only its trace, so that it is on top
    trace = page.evaluate(
        f"{chart}.data.findIndex((t) => t.name.startsWith('flagged'))"
    )
    at = page.evaluate(
        f"""() => {{
            const {{ x, y, customdata }} = {chart}.data[{trace}];
            const k = customdata.indexOf({row});
            const {{ xaxis, yaxis }} = {chart}._fullLayout;
            const area = {chart}.querySelector(".nsewdrag").getBoundingClientRect();
            return [area.x + xaxis.c2p(x[k]), area.y + yaxis.c2p(y[k])];
        }}"""
    )
    page.mouse.move(*at)
    page.wait_for_selector("#tip:not([hidden])")
    said = page.locator("#tip").inner_text()
    page.mouse.click(*at)
    # another row may have been selected before
    page.wait_for_selector(f"#table tr[aria-selected=true][data-row='{row}']")
    assert said.startswith(selected_id(page))
    # rows that come into sight are drawn anew, so that an element may be gone
    page.wait_for_function(
        f"""() => {{
            const row = document.querySelector('#table tr[data-row="{row}"]');
            const sight = document.querySelector("#table").getBoundingClientRect();
            const top = row?.getBoundingClientRect().top;
            return sight.top < top && top < sight.bottom;
        }}"""
    )
    assert page.evaluate(f"{chart}.layout.shapes.length") == 2


@pytest.mark.slow
def test_the_viewer_draws_the_selected_structure(page: Any) -> None:
    from PIL import Image

    def colours() -> set[tuple[int, ...]]:
        page.wait_for_timeout(500)
        picture = Image.open(io.BytesIO(page.locator("#viewer").screenshot()))
        return set(picture.convert("RGB").get_flattened_data())

    page.locator("#table tr[data-row='0']").click()
    oxide = colours()
    # oxygen is red in Jmol's colours, chlorine green; shaded
    assert any(r > 150 and g < 60 and b < 60 for r, g, b in oxide)
    page.locator("#table").focus()
    page.keyboard.press("ArrowDown")
    assert selected_id(page) == "c-1"
    chloride = colours()
    assert any(g > 150 and r < 80 and b < 80 for r, g, b in chloride)
    assert not any(r > 150 and g < 60 and b < 60 for r, g, b in chloride)
    page.locator("th[data-column=id] button").click()
    page.locator("#table tr[data-row='200']").click()
    assert page.locator("#viewer").is_hidden()
    assert "No structure is kept" in page.locator("#viewer-note").inner_text()


@pytest.mark.slow
def test_100_000_rows_are_there_but_only_those_in_sight_are_drawn(
    browser: Any, tmp_path: Path
) -> None:
    n = 100_000
    records = [record(k) | {"n_opt": 5.0 - 1e-5 * k} for k in range(n)]
    data = replace(make_data(0), records=records, embedding=None)
    build_report(data, tmp_path / "r.html")
    page = open_page(browser, tmp_path / "r.html")
    assert page.locator("#shown").inner_text() == "100,000 of 100,000 rows"
    page.locator("#table").evaluate("box => (box.scrollTop = box.scrollHeight)")
    page.wait_for_function("document.querySelector('tr[data-row=\"99999\"]')")
    assert column(page, "id")[-1] == "c-99999"
    assert page.locator("#table tr[data-row]").count() < 60
    page.fill("th[data-column=id] input", "c-7777")
    page.wait_for_function("shown.textContent === '11 of 100,000 rows'")
    assert column(page, "id") == ["c-7777", *(f"c-7777{k}" for k in range(10))]
    assert page.complaints == []
    page.close()


@pytest.mark.slow
def test_a_report_without_candidates_or_training_set_says_so(
    browser: Any, tmp_path: Path
) -> None:
    both = [INDEX, GAP]
    data = ReportData("empty", "mftscreen rank", COLUMNS, [], both, OPTIONS, {})
    build_report(data, tmp_path / "r.html")
    page = open_page(browser, tmp_path / "r.html")
    assert page.locator("#shown").inner_text() == "0 of 0 rows"
    for part in ("pareto", "scatter", "map", "distribution"):
        assert page.locator(f"#{part}-note").inner_text() != ""
    assert page.locator("#failures").inner_text() == "None."
    assert page.complaints == []
    page.close()
