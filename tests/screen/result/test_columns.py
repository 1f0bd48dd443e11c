"""The declared columns, and that everything is made of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from ase.build import bulk
from ase.db import connect
from click.testing import CliRunner

from mftscreen.cli import main
from mftscreen.screen.order.goals import Goal
from mftscreen.screen.order.rank_options import RankOptions
from mftscreen.screen.result import columns, store
from mftscreen.screen.result.columns import FLAGS, IDS, Column, Ranked, result_columns
from mftscreen.screen.result.rows import ScreenRow
from mftscreen.screen.result.screen_result import ScreenResult
from mftscreen.screen.work.outcome import Relaxation

ROW = ScreenRow(
    id="7", formula="MgO", values={"gap": 1.5}, spreads={}, ood_p_value=0.5, ood=False,
    low_dimensional=None, status="ok", reason="", atoms=bulk("MgO", "rocksalt", a=4.2),
)  # fmt: skip


def result_of(*rows: ScreenRow) -> ScreenResult:
    ranks = list(range(1, len(rows) + 1))
    options = RankOptions({"gap": Goal()})
    units = {"gap": "eV"}
    return ScreenResult(
        list(rows), [*ranks], options, units, "m0", [None] * len(rows), ranks, []
    )


def test_a_property_has_a_unit_unless_that_is_one() -> None:
    names = [column.name for column in result_columns({"gap": "eV", "n": "1"})]
    assert "gap_unit" in names
    assert "n_unit" not in names
    assert names.index("gap_high") < names.index("n") < names.index("ood_p_value")


def test_names_are_unique_and_fit_for_conditions() -> None:
    names = [column.name for column in result_columns({"gap": "eV"})]
    assert len(set(names)) == len(names)
    assert all(name.isidentifier() for name in names)


def test_flags_and_ids() -> None:
    assert set(FLAGS) == {"ood", "fast_ood", "low_dimensional", "relax_converged"}
    assert set(IDS) == {"id", "duplicate_of"}


def test_optional_columns_need_a_value() -> None:
    assert result_of().columns == [
        "rank", "id", "formula", "gap", "gap_unit", "trust", "ood_p_value", "ood",
        "low_dimensional", "status", "reason", "model",
    ]  # fmt: skip
    # False and 0 are values
    relaxed = Relaxation(converged=False, steps=0, fmax=0.0, volume_change=0.0)
    given = result_of(ROW, _changed(relaxation=relaxed), _changed(duplicate_of="7"))
    new = set(given.columns) - set(result_of(ROW).columns)
    assert new == {
        "relax_converged", "relax_steps", "relax_fmax", "relax_volume_change",
        "duplicate_of",
    }  # fmt: skip


def test_a_funnel_has_columns_of_the_fast_model() -> None:
    fast = _changed(values={"gap": 1.25}, ood=True, ood_p_value=0.01)
    given = result_of(ROW, _changed(fast=fast, fast_rank=3))
    blank, found = given.records()
    new = {name: found[name] for name in given.columns if name.startswith("fast")}
    assert new == {
        "fast_gap": 1.25, "fast_rank": 3, "fast_ood_p_value": 0.01, "fast_ood": True,
    }  # fmt: skip
    assert {blank[name] for name in new} == {None}
    assert (found["gap"], found["ood"]) == (1.5, False)
    header, first, second = store.format_table(given, 2).splitlines()
    assert "fast gap" in header
    assert "1.25" in second
    assert "1.25" not in first
    assert given.where("fast_ood and fast_rank > 2").rows == given.rows[1:]


def _changed(**changes: object) -> ScreenRow:
    return ScreenRow(**{**vars(ROW), **changes})


def test_a_new_column_is_in_everything_that_shows_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = Column(
        "n_atoms", lambda r: len(r.row.atoms), "atoms in the cell", title="N"
    )
    monkeypatch.setattr(columns, "_LAST", (extra, *columns._LAST))
    found = result_of(ROW)
    assert next(found.records())["n_atoms"] == 2
    assert found.where("n_atoms == 2").rows == [ROW]
    assert "  N  " in store.format_table(found, 1).splitlines()[0]
    path = tmp_path / "a.db"
    store.write_records(path, found.columns, [(next(found.records()), ROW.atoms)])
    (row,) = connect(path).select("n_atoms=2")
    assert row.candidate == "id:7"


def test_help_names_the_columns() -> None:
    text = CliRunner().invoke(main, ["results", "query", "--help"]).output
    flat = " ".join(text.split())
    names = [column.name for column in result_columns({"PROPERTY": "UNIT"})]
    assert f"Columns: {', '.join(names)}." in flat


def test_cell_of_a_value_that_has_no_form_of_its_own() -> None:
    (rank, *_) = result_columns({})
    assert rank.text(Ranked(3, None, ROW, "m0")) == "3"
