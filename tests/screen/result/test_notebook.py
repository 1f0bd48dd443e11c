from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from ase import Atoms
from ase.build import bulk

from mftscreen import ScreenResult, rank
from mftscreen.errors import ConfigError


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    with plt.rc_context({"backend": "agg"}):
        yield
    plt.close("all")


class _Table(HTMLParser):
    """Rows of cells, with the style of each row."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.styles: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
            self.styles.append(dict(attrs).get("style") or "")
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] in (["td"], ["th"]):
            self.rows[-1][-1] += data


def test_one_line_says_what_it_is(ranked: ScreenResult) -> None:
    line = repr(ranked)
    assert line.startswith("<ScreenResult of 8 candidates by gap:max: ")
    assert line.endswith("1 without a value>")
    assert len(line) < 120


def test_the_table_tints_what_is_not_to_be_trusted(tiny_model: Path) -> None:
    table = pd.DataFrame(
        {
            "atoms": [bulk("MgO", "rocksalt", a=4.2), bulk("Si"), Atoms("Po")],
            "group": ["<b>", None, "x"],
        }
    )
    result = rank(table, goals="gap", models=tiny_model)
    found = _Table(result._repr_html_())
    trust, group = found.rows[0].index("trust"), found.rows[0].index("group")
    for row, style in zip(found.rows[1:], found.styles[1:], strict=True):
        assert ("background" in style) == (row[trust] in ("flagged", "untested"))
    assert {row[group] for row in found.rows[1:]} == {"<b>", "", "x"}
    (failed,) = (row for row in found.rows if "the model does not know" in row[-2])
    assert failed[0] == ""  # no rank


@pytest.mark.parametrize("goals", ["gap", ["gap:max", "alpha:min"]])
def test_the_best_are_drawn(
    goals: str | list[str], crystals: list[Atoms], two_headed: Path
) -> None:
    named = crystals[0].copy()
    named.info["id"] = "$x_{$"  # no formula of TeX
    result = rank([named, *crystals[1:]], goals=goals, models=two_headed)
    ax = result.plot(n=4)
    ax.figure.savefig(BytesIO())
    n = sum(len(container[0].get_xdata()) for container in ax.containers)
    assert n == 4
    assert ax.get_ylabel().startswith("gap" if isinstance(goals, str) else "alpha")
    _, own = plt.subplots()
    assert result.plot(ax=own) is own


def test_nothing_to_draw_is_said(ranked: ScreenResult, tiny_model: Path) -> None:
    with pytest.raises(ConfigError, match="n: 0 is not a number"):
        ranked.plot(0)
    nothing = rank([Atoms("Po")], goals="gap", models=tiny_model)
    with pytest.raises(ConfigError, match="no candidate has a rank"):
        nothing.plot()
    assert "1 without a value" in repr(nothing)
    assert "holds Po" in nothing._repr_html_()
