"""What is asked of a result: records, a table, conditions."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mftscreen import ScreenResult, rank
from mftscreen.errors import (
    ConfigError,
)
from mftscreen.screen.order.goals import Goal
from mftscreen.screen.order.rank_options import RankOptions
from mftscreen.screen.result.screen_result import read_result
from mftscreen.screen.work.journal import Journal


def test_records_and_table_have_the_same_columns(pool: Path, tiny_model: Path) -> None:
    result = rank(pool, goals="gap:min", models=[tiny_model])
    assert {tuple(record) for record in result.records()} == {tuple(result.columns)}
    table = result.to_pandas()
    assert list(table.columns) == result.columns
    assert table["id"].tolist() == [row.id for row in result.rows]
    assert table["model"].unique().tolist() == [result.model]


def test_journal_without_the_property(
    pool: Path, tiny_model: Path, tmp_path: Path
) -> None:
    rank(pool, goals="gap:max", models=tiny_model, run=tmp_path)
    with (
        Journal(tmp_path, read_only=True) as journal,
        pytest.raises(ConfigError, match="alpha was not predicted; there is gap"),
    ):
        read_result(journal, RankOptions({"alpha": Goal()}))


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("status == 'ok' and not ood", lambda r: r.status == "ok" and not r.ood),
        ("ood", lambda r: bool(r.ood)),
        ("formula == 'MgO'", lambda r: r.formula == "MgO"),
        ("id in ['2', '6']", lambda r: r.id in ("2", "6")),
        ("status != 'ok'", lambda r: r.status != "ok"),
        ("ood_p_value >= 0", lambda r: r.ood_p_value is not None),
        ("rank > 100", lambda r: False),
        ("not low_dimensional", lambda r: r.low_dimensional is False),
        ("low_dimensional", lambda r: bool(r.low_dimensional)),
        (" '7' == id or rank > 100", lambda r: r.id == "7"),
        # as ASE spells it
        ("ood=False", lambda r: r.ood is False),
        ("ood = True", lambda r: bool(r.ood)),
        ("id='7'", lambda r: r.id == "7"),
        ("gap>0,id!='7'", lambda r: (r.values.get("gap") or 0) > 0 and r.id != "7"),
        ("id in ['7', '8'],gap=gap or 1<0", lambda r: r.id in ("7", "8")),
    ],
)
def test_where(
    ranked: ScreenResult, condition: str, holds: Callable[[Any], bool]
) -> None:
    kept = ranked.where(condition)
    pairs = list(zip(ranked.rows, ranked.ranks, strict=True))
    expected = [(row, number) for row, number in pairs if holds(row)]
    assert list(zip(kept.rows, kept.ranks, strict=True)) == expected
    assert len(kept.fronts) == len(kept.rows)
    assert len(list(kept.records())) == len(kept.rows)


@pytest.mark.parametrize(
    ("condition", "text"),
    [
        ("gap >", "not understood"),
        ("", "not understood"),
        ("x = gap > 0", "there is no column x"),
        ("ood=false", "there is no column false"),
        ("ood=false", "did you mean 'False'?"),
        ("id=='", "not understood"),
        ("gap>1,", "not understood: a condition is missing before or after a comma"),
        ("gap>1,,ood", "a condition is missing"),
        (",", "a condition is missing"),
        ("x=1,gap:=2", "only columns, constants and operators"),
        ("formula=MgO", "a text is written in quotes: 'MgO'"),
        ("ood=(1,", "not understood"),
        ("gap > 'a' or 1", "gap holds no texts like 'a'"),
        ("colour == 'red'", "there is no column colour, but rank, id, formula"),
        ("formla == 1", "model; did you mean 'formula'?"),
        ("gap", "neither true nor false"),
        ("gap + 1", "neither true nor false"),
        ("id", "neither true nor false"),
        ("1", "neither true nor false"),
        ("1 < 2", "neither true nor false"),
        ("id == 3", "id holds texts, which are written in quotes: '3'"),
        ("3 != id", "id holds texts"),
        ("id in [3, 4]", "id holds texts"),
        ("rank == '1'", "rank holds no texts like '1'"),
    ],
)
def test_condition_that_is_none(
    ranked: ScreenResult, condition: str, text: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"condition {condition!r}")) as e:
        ranked.where(condition)
    assert text in str(e.value)


@pytest.mark.parametrize(
    "condition",
    [
        "@__import__('os').system('touch {path}')",
        "@__import__('os').system('touch {path}') == 0",
        "@sys.modules.get('os').system('touch {path}') == 0",
        "@Path('{path}').touch()",
        "gap.to_csv('{path}') == 1",
        "().__class__.__base__.__subclasses__() == open('{path}', 'w')",
    ],
)
def test_condition_that_would_do_something(
    ranked: ScreenResult, tmp_path: Path, condition: str
) -> None:
    path = tmp_path / "trace"
    with pytest.raises(ConfigError, match="condition"):
        ranked.where(condition.format(path=path))
    assert not path.exists()
