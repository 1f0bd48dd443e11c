"""``mftscreen.rank``: what is ranked, reused and refused."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.constraints import FixAtoms
from ase.db import connect
from ase.io import write
from click.testing import CliRunner
from pymatgen.io.ase import AseAtomsAdaptor

from mftscreen import ScreenResult, rank
from mftscreen.cli import main
from mftscreen.errors import (
    ConfigError,
    DataError,
    UnknownModelError,
    UnknownPropertyError,
)
from mftscreen.model.files.bundle import read_bundle, write_bundle
from mftscreen.screen.candidates.elements import ElementFilter
from mftscreen.screen.order.goals import Goal
from mftscreen.screen.order.rank_options import RankOptions
from mftscreen.screen.order.ranking import order_candidates
from mftscreen.screen.relax.batched import RelaxSettings
from mftscreen.screen.result.screen_result import read_options, read_result
from mftscreen.screen.work.journal import DATABASE, Journal


def write_pool(path: Path, structures: Sequence[Atoms]) -> Path:
    with connect(path, append=False) as database:
        for atoms in structures:
            database.write(atoms)
    return path


def test_every_candidate_has_one_row_in_the_order_of_ranks(
    ranked: ScreenResult, crystals: list[Atoms]
) -> None:
    result = ranked
    assert isinstance(result, ScreenResult)
    assert sorted(row.id for row in result.rows) == [str(k) for k in range(1, 9)]
    assert result.ranks == [1, 2, 3, 4, 5, 6, None, None]
    values = [row.values["gap"] for row in result.top(7)]
    assert len(values) == 6
    assert values == sorted(values, reverse=True)
    assert [row.id for row in result.failures] == ["6"]
    assert result.failures[0].status == "unknown_element"
    assert result.rows[-1] is result.failures[0]
    assert result.top(3) == result.rows[:3]
    (copy,) = (row for row in result.rows if row.duplicate_of)
    assert (copy.id, copy.duplicate_of) == ("7", "1")
    # a copy has the values of its original, which has the rank
    assert copy is result.rows[-2]
    assert copy.values == next(r for r in result.rows if r.id == "1").values
    for row in result.rows:
        assert row.atoms == crystals[int(row.id) - 1]


@pytest.mark.parametrize("relax", [None, RelaxSettings(steps=2)])
def test_constraints_survive_to_the_output(
    relax: RelaxSettings | None, tmp_path: Path, tiny_model: Path
) -> None:
    from mftscreen.screen.result.store import write_records

    crystal = bulk("MgO", "rocksalt", a=4.3, cubic=True)
    crystal.set_constraint(FixAtoms([0, 5]))
    pool = write_pool(tmp_path / "pool.db", [crystal, bulk("Si")])
    result = rank(pool, goals="gap:max", models=tiny_model, relax=relax)
    pairs = zip(result.records(), (row.atoms for row in result.rows), strict=True)
    write_records(tmp_path / "out.db", result.columns, pairs)
    with connect(tmp_path / "out.db") as database:
        found = {row.formula: row.toatoms().constraints for row in database.select()}
    assert found["Si2"] == []
    (constraint,) = found["Mg4O4"]
    assert constraint.todict() == FixAtoms([0, 5]).todict()


def test_structures_are_left_out_on_request(pool: Path, tiny_model: Path) -> None:
    result = rank(pool, goals="gap:max", models=tiny_model, structures=False)
    assert {row.atoms for row in result.rows} == {None}


def test_order_is_that_of_order_candidates(pool: Path, two_headed: Path) -> None:
    for method in ("pareto", "desirability"):
        goals = {"gap": Goal(), "alpha": Goal("minimize")}
        result = rank(pool, goals=goals, models=two_headed, method=method)
        by_id = sorted(result.rows, key=lambda row: int(row.id))
        values = {
            name: [
                np.nan if row.duplicate_of else row.values.get(name, np.nan)
                for row in by_id
            ]
            for name in goals
        }
        flagged = [bool(row.ood) for row in by_id]
        expected = order_candidates(values, goals, method=method, flagged=flagged)
        order = [int(row.id) - 1 for row in result.rows]
        assert order[:6] == expected.order[:6].tolist()
        assert order[6:] == [6, 5]  # a copy, then what failed
        assert [rank or 0 for rank in result.ranks] == expected.ranks[order].tolist()
        assert ("front" in result.columns) == (method == "pareto")
        assert {"gap_unit", "alpha_unit"} <= set(result.columns)
        if expected.fronts is not None:
            fronts = expected.fronts[order].tolist()
            assert [front or 0 for front in result.fronts] == fronts


def test_bounds_take_the_rank_and_are_named(
    pool: Path, tiny_model: Path, ranked: ScreenResult
) -> None:
    values = [row.values["gap"] for row in ranked.top(6)]
    bound = (values[2] + values[3]) / 2
    result = rank(pool, goals={"gap": Goal(at_most=bound)}, models=tiny_model)
    unranked = [row for row, r in zip(result.rows, result.ranks, strict=True) if not r]
    assert [row.status for row in unranked] == ["ok"] * 4 + ["unknown_element"]
    assert all("gap" in row.reason for row in unranked[:3])
    assert unranked[3].duplicate_of


def test_policies(pool: Path, tiny_model: Path) -> None:
    flagged = {"5", "8"}  # elements that the training set lacks
    for policy in ("label", "demote", "exclude"):
        result = rank(pool, goals="gap:max", models=tiny_model, ood=policy)
        assert {row.id for row in result.rows if row.ood} == flagged
        ranks = {r.id: n for r, n in zip(result.rows, result.ranks, strict=True)}
        if policy == "demote":
            assert {ranks[name] for name in flagged} == {5, 6}
        elif policy == "exclude":
            assert {ranks[name] for name in flagged} == {None}


def test_diverse_candidates_are_no_copies(pool: Path, tiny_model: Path) -> None:
    result = rank(pool, goals="gap:max", models=tiny_model, diverse=7)
    assert len(result.top(7)) == 6
    assert {row.id for row in result.top(7)} == {"1", "2", "3", "4", "5", "8"}


def test_diverse_without_any_ranked(tmp_path: Path, tiny_model: Path) -> None:
    pool = write_pool(tmp_path / "lead.db", [Atoms("Pb")] * 2)
    result = rank(pool, goals="gap:max", models=tiny_model, diverse=3)
    assert result.ranks == [None, None]


def test_a_journal_knows_how_it_was_ranked(
    pool: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pool.parent)
    model = os.path.relpath(tiny_model)
    rank(pool.name, goals="gap=1.5", models=model, ood="demote", run=tmp_path)
    with Journal(tmp_path, read_only=True) as journal:
        options = RankOptions({"gap": Goal("target", 1.5)}, policy="demote")
        assert read_options(journal) == options
        changed = read_options(journal, ["gap:min"], alpha=0.2, coverage=None)
        assert changed == replace(options, goals={"gap": Goal("minimize")}, alpha=0.2)
        assert journal.description["command"] is None
        assert journal.description["source"] == str(pool)
        (source,) = journal.description["model_sources"]
    assert Path(source).is_absolute()
    assert Path(source).samefile(tiny_model)


def test_filtered_candidates_are_not_evaluated(
    pool: Path, tiny_model: Path, evaluated: list[int]
) -> None:
    refuse = ElementFilter(exclude=frozenset({"As", "Pb"}))
    result = rank(pool, goals="gap:max", models=tiny_model, elements=refuse)
    refused = [row for row in result.rows if row.status == "filtered"]
    assert [row.reason for row in refused] == [
        "excluded elements: As", "excluded elements: Pb",
    ]  # fmt: skip
    assert [row.formula for row in refused] == ["GaAs", "Pb"]
    assert sum(evaluated) == 5  # of six, one is a copy


def test_rerun_evaluates_nothing(
    pool: Path, tiny_model: Path, tmp_path: Path, evaluated: list[int]
) -> None:
    first = rank(pool, goals="gap:max", models=tiny_model, run=tmp_path / "run")
    assert sum(evaluated) == 7
    evaluated.clear()
    again = rank(pool, goals="gap=1.5", models=tiny_model, run=tmp_path / "run")
    assert sum(evaluated) == 0
    assert {r.id: r.values for r in again.rows} == {r.id: r.values for r in first.rows}


def test_reordered_and_extended_database(
    pool: Path,
    crystals: list[Atoms],
    tiny_model: Path,
    tmp_path: Path,
    evaluated: list[int],
) -> None:
    rank(pool, goals="gap:max", models=tiny_model, run=tmp_path / "run")
    evaluated.clear()
    new = [bulk("Si"), *reversed(crystals)]
    other = write_pool(tmp_path / "other.db", new)
    result = rank(other, goals="gap:max", models=tiny_model, run=tmp_path / "run")
    assert evaluated == [1]
    assert [row.atoms for row in sorted(result.rows, key=lambda r: int(r.id))] == new


def test_changed_model_or_property_is_evaluated_again(
    pool: Path, tiny_model: Path, two_headed: Path, tmp_path: Path, evaluated: list[int]
) -> None:
    run = tmp_path / "run"
    for goals, model, number in (
        ("gap:max", tiny_model, 7),
        ("gap:max", two_headed, 7),
        ("alpha:max", two_headed, 7),
        ("gap:min", tiny_model, 0),
    ):
        evaluated.clear()
        rank(pool, goals=goals, models=model, run=run)
        assert sum(evaluated) == number


def test_model_file_that_was_replaced_is_loaded_again(
    pool: Path, two_headed: Path, other_member: Path, tmp_path: Path
) -> None:
    path = tmp_path / "model.mft"
    for source in (two_headed, other_member):
        path.write_bytes(source.read_bytes())
        found = rank(pool, goals="gap:max", models=path)
        expected = rank(pool, goals="gap:max", models=source)
        assert list(found.records()) == list(expected.records())


def test_second_screening_in_a_folder_is_refused(
    pool: Path, tiny_model: Path, tmp_path: Path
) -> None:
    with (
        Journal(tmp_path / "run"),
        pytest.raises(DataError, match="another screening runs in it"),
    ):
        rank(pool, goals="gap:max", models=tiny_model, run=tmp_path / "run")
    rank(pool, goals="gap:max", models=tiny_model, run=tmp_path / "run")


def test_ensemble_has_mean_and_spread(
    pool: Path, tiny_model: Path, other_member: Path, ranked: ScreenResult
) -> None:
    members = [ranked, rank(pool, goals="gap:max", models=other_member)]
    first, second = ({r.id: r.values for r in m.rows} for m in members)
    result = rank(pool, goals="gap:max", models=[tiny_model, other_member])
    assert "gap_spread" in result.columns
    assert result.model == "+".join(member.model for member in members)
    for row in result.rows:
        if row.status == "ok":
            pair = [first[row.id]["gap"], second[row.id]["gap"]]
            assert pair[0] != pair[1]
            assert row.values["gap"] == pytest.approx(np.mean(pair))
            assert row.spreads["gap"] == pytest.approx(np.std(pair, ddof=1))


def test_models_with_different_properties(
    pool: Path, tiny_model: Path, two_headed: Path
) -> None:
    result = rank(pool, goals=["gap:max", "alpha:max"], models=[tiny_model, two_headed])
    best = result.rows[0]
    assert set(best.values) == {"gap", "alpha"}
    assert set(best.spreads) == {"gap"}


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"goals": "gap:best"}, ConfigError, "gap:best"),
        ({"goals": "colour:max"}, UnknownPropertyError, "gap"),
        ({"models": "mft-max"}, UnknownModelError, "mft-max"),
        ({"source": "missing.db"}, DataError, "no such file"),
        ({"method": "best"}, ConfigError, "method"),
        ({"ood": "ignore"}, ConfigError, "ood: one of label, demote, exclude"),
        ({"alpha": 2.0}, ConfigError, "alpha: 2.0 is not between 0 and 1"),
        ({"coverage": float("nan")}, ConfigError, "coverage"),
        ({"diverse": -1}, ConfigError, "diverse: -1 is negative"),
    ],
)
def test_what_is_refused(
    pool: Path, tiny_model: Path, change: dict[str, Any], error: type, text: str
) -> None:
    arguments = {"source": pool, "goals": "gap:max", "models": tiny_model, **change}
    with pytest.raises(error, match=text):
        rank(**arguments)


def test_what_models_were_not_made_for(tmp_path: Path, bulk_model: Path) -> None:
    structures = [bulk("MgO", "rocksalt", a=4.2), molecule("H2O")]
    ion = structures[0].copy()
    ion.info["charge"] = -1
    path = tmp_path / "some.extxyz"
    write(path, [*structures, ion])
    result = rank(path, goals="gap:max", models=bulk_model, run=tmp_path / "run")
    assert [row.status for row in result.rows] == ["ok", "ok", "outside_domain"]
    assert [row.ood for row in result.rows] == [False, True, None]
    assert result.ranks == [1, 1, None]  # the model does not see the charge
    assert not any(row.duplicate_of for row in result.rows)
    (refused,) = result.failures
    assert refused.reason == "gap: it is for crystals, and this is not periodic"
    again = rank(path, goals="gap:max", models=bulk_model, run=tmp_path / "run")
    assert list(again.records()) == list(result.records())
    with Journal(tmp_path / "run", read_only=True) as journal:
        labels = journal.description["labels"]
        label = labels["gap"].upper().replace(" ", "_")
        assert read_options(journal, [f"{label}:min"]).goals["gap"].kind == "minimize"
    lenient = rank(
        path, goals="gap:max", models=bulk_model, run=tmp_path / "run",
        check_domain=False,
    )  # fmt: skip
    assert not lenient.failures
    (water,) = (row for row in lenient.rows if row.formula == "H2O")
    assert water.ood
    assert "not periodic" in water.reason


def test_copies_are_found_among_what_has_values(
    tmp_path: Path, bulk_model: Path
) -> None:
    oxide = bulk("MgO", "rocksalt", a=4.2)
    shifted = oxide.copy()
    shifted.positions += 0.7
    path = tmp_path / "some.extxyz"
    write(path, [molecule("H2O"), oxide, shifted])
    result = rank(
        path, goals="gap:max", models=bulk_model, duplicates="equivalent"
    )  # fmt: skip
    rows = {row.formula: row for row in result.rows}
    assert rows["H2O"].status == "outside_domain"
    assert [row.duplicate_of for row in result.rows] == ["", "some.extxyz#1", ""]


@pytest.mark.parametrize(
    ("policy", "ranks"), [("demote", [1, 2]), ("exclude", [1, None])]
)
def test_what_nothing_can_test_counts_as_in_distribution(
    tmp_path: Path, bulk_model: Path, policy: str, ranks: list[int | None]
) -> None:
    """There is no reference set, and a charge is a doubt all the same."""
    bundle = read_bundle(bulk_model)
    model = tmp_path / "model.mft"
    write_bundle(model, bundle.card, bundle.checkpoint)
    ion, oxide = bulk("MgO", "rocksalt", a=4.2), bulk("MgO", "rocksalt", a=4.3)
    ion.info["charge"] = 1
    for goal in ("gap:max", "gap:min"):
        write(tmp_path / "some.extxyz", [ion, oxide])
        result = rank(
            tmp_path / "some.extxyz", goals=goal, models=model, ood=policy
        )  # fmt: skip
        assert [row.trust for row in result.rows] == ["untested", "flagged"]
        assert result.ranks == ranks


def _frozen(crystals: Sequence[Atoms]) -> list[Atoms]:
    """Structures with what cannot be sent to other processes."""
    given = [atoms.copy() for atoms in crystals]
    for atoms in given:
        atoms.info["callback"] = lambda: None
        atoms.calc = object()
    return given


@pytest.mark.parametrize(
    "source",
    [
        lambda crystals: crystals,
        lambda crystals: iter(crystals),
        lambda crystals: [(str(k), atoms) for k, atoms in enumerate(crystals)],
        lambda crystals: pd.DataFrame({"atoms": crystals}),
        lambda crystals: pd.Series(crystals, name="structure"),
        lambda crystals: [
            AseAtomsAdaptor.get_structure(a) if a.pbc.any() else a for a in crystals
        ],
        _frozen,
    ],
    ids=["list", "iterator", "pairs", "table", "column", "pymatgen", "frozen"],
)
def test_what_is_in_memory_is_ranked_as_a_file_is(
    source: Callable[[list[Atoms]], Any],
    ranked: ScreenResult,
    crystals: list[Atoms],
    tiny_model: Path,
) -> None:
    result = rank(source(crystals), goals="gap", models=tiny_model)
    assert [str(int(row.id) + 1) for row in result.rows] == [r.id for r in ranked.rows]
    values = [row.values.get("gap") for row in result.rows]
    assert values == pytest.approx([r.values.get("gap") for r in ranked.rows])


@pytest.mark.slow
def test_what_is_in_memory_goes_to_other_processes_and_is_known_again(
    crystals: list[Atoms], tiny_model: Path, tmp_path: Path, ranked: ScreenResult
) -> None:
    table = pd.DataFrame(
        {"s": _frozen(crystals), "note": range(8)}, index=list("ABCDEFGH")
    )
    options: dict[str, Any] = {"goals": "gap", "models": tiny_model, "run": tmp_path}
    result = rank(table, n_jobs=2, **options)
    assert result.to_pandas()["note"].tolist() == [
        "ABCDEFGH".index(row.id) for row in result.rows
    ]
    with Journal(tmp_path, read_only=True) as journal:
        assert journal.description["source"] is None
    again = rank(iter(_frozen(crystals)), **options)
    assert [r.values for r in again.rows] == [r.values for r in result.rows]
    with pytest.raises(DataError, match=r"a query \('O'\) needs an ase.db"):
        rank(crystals, "O", goals="gap", models=tiny_model)


def test_what_a_source_says_of_candidates_comes_back(
    crystals: list[Atoms], tiny_model: Path, tmp_path: Path
) -> None:
    path = tmp_path / "pool.extxyz"
    frames = [atoms.copy() for atoms in crystals[:3]]
    for k, atoms in enumerate(frames):
        # one name that results have, one that is a formula, a text like a number
        atoms.info = {"mp": f"mp-{k}", "gap": 0.5 * k, "Si": "007", "far": bool(k)}
    write(path, frames)
    options: dict[str, Any] = {"goals": "gap", "models": tiny_model}
    result = rank(path, id_key="mp", **options)
    table = result.to_pandas().set_index("id")
    assert set(table.index) == {"mp-0", "mp-1", "mp-2"}
    assert table["source_gap"]["mp-1"] == 0.5
    assert result.foreign == ["mp", "source_gap", "Si", "far"]
    with pytest.raises(DataError, match="the first row has no 'mpid' to be named by"):
        rank(path, id_key="mpid", **options)
    assert rank(path, carry=False, **options).foreign == []
    assert rank(path, carry="far, mp", **options).foreign == ["far", "mp"]
    with pytest.raises(ConfigError, match="carry: names, True or False are"):
        rank(path, carry=3, **options)
    part = rank(path, carry=["far", "nothing"], **options)
    assert part.foreign == ["far"]  # the screening is not lost
    assert any("no candidate has nothing" in remark for remark in part.remarks)
    only = result.where("source_gap > 0 and far")
    assert {row.id for row in only.rows} == {"mp-1", "mp-2"}


def test_several_paths_are_one_source(
    crystals: list[Atoms], tiny_model: Path, tmp_path: Path
) -> None:
    paths = [tmp_path / f"{k}.extxyz" for k in range(3)]
    for path, atoms in zip(paths[:2], crystals, strict=False):
        atoms.write(path)
    run = tmp_path / "run"
    result = rank(paths, goals="gap", models=tiny_model, run=run)
    (failed,) = result.failures
    assert (failed.id, failed.status) == ("2.extxyz", "unreadable")
    assert {row.id for row in result.rows[:2]} == {"0.extxyz#0", "1.extxyz#0"}
    with Journal(run, read_only=True) as journal:
        assert journal.description["source"] == list(map(str, paths))
    exported = CliRunner().invoke(
        main, ["results", "export", str(run), str(paths[0].with_suffix(".csv"))]
    )
    assert exported.exit_code == 3, exported.stderr


def test_a_journal_of_before_has_nothing_to_carry(
    pool: Path, tiny_model: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"goals": "gap", "models": tiny_model, "run": tmp_path}
    before = rank(pool, **options)
    with closing(sqlite3.connect(tmp_path / DATABASE)) as database:
        database.execute("DROP TABLE carried")
    with Journal(tmp_path, read_only=True) as journal:
        result = read_result(journal, before.options, carry=True)
    assert [row.id for row in result.rows] == [row.id for row in before.rows]
    assert result.foreign == []
    table = pd.DataFrame({"atoms": [bulk("Si")], "note": ["x"]})
    assert rank(table, **options).to_pandas()["note"].tolist() == ["x"]


class Ood(Enum):
    """As a user's own code may have it."""

    DEMOTE = "demote"


@pytest.mark.parametrize(
    "same",
    [
        {"goals": "gap"},
        {"goals": ["gap:max"]},
        {"goals": {"gap": "max"}},
        {"goals": {"gap": Goal()}},
        {"goals": RankOptions({"gap": Goal()})},
        {"ood": "label"},
        {"elements": {"exclude": []}},
        {"elements": ElementFilter()},
        {"relax": False},
        {"alpha": np.float64(0.05), "diverse": np.int64(0), "n_jobs": np.int64(1)},
    ],
    ids=str,
)
def test_arguments_may_be_texts_mappings_and_objects(
    same: dict[str, Any], pool: Path, tiny_model: Path, ranked: ScreenResult
) -> None:
    result = rank(
        str(pool), **{"goals": "gap:max", "models": [str(tiny_model)], **same}
    )
    assert list(result.records()) == list(ranked.records())


def test_optimisers_and_policies_may_be_texts_and_enums(
    crystals: list[Atoms], tiny_model: Path
) -> None:
    options: dict[str, Any] = {"goals": "gap", "models": tiny_model}
    by_name, by_mapping = (
        rank(crystals[:2], relax=relax, ood=Ood.DEMOTE, **options)
        for relax in ("fire", {"steps": 500, "optimizer": "fire"})
    )
    assert by_name.options.policy == "demote"
    assert by_name.rows[0].relaxation is not None
    assert list(by_name.records()) == list(by_mapping.records())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"goals": 3}, "goals: 3 is not understood"),
        ({"goals": {"gap": object()}}, "goals: gap: <object"),
        ({"goals": {"gap": "best"}}, "goals: gap: 'best' is not understood"),
        ({"goals": {"gap": "x:max"}}, "goals: gap: 'x:max' is not understood"),
        ({"relax": 3}, "relax: an optimiser"),
        ({"relax": "newton"}, "optimizer is one of fire"),
        ({"relax": {"fmx": 0.1}}, "relax: fmx: unknown; known: optimizer"),
        ({"relax": {"fmax": "small"}}, "fmax is a positive number"),
        ({"elements": ["Pb"]}, "elements: a mapping with max_elements"),
        ({"elements": {"exclude": 3}}, "exclude: 3 is not a list"),
        ({"alpha": "a"}, "alpha: 'a' is not between 0 and 1"),
        ({"method": 3}, "method: one of pareto"),
        ({"diverse": 1.5}, "diverse: 1.5 is not a whole number"),
        ({"n_jobs": 0}, "n_jobs: 0 is neither"),
        ({"device": "tpu"}, "device: one of cpu"),
        ({"run": 3}, "run: the path of a folder"),
        ({"models": 3}, "models: names, paths, fitted estimators"),
    ],
)
def test_wrong_arguments_are_named_before_anything_is_done(
    wrong: dict[str, Any], message: str, pool: Path
) -> None:
    with pytest.raises((ConfigError, UnknownPropertyError), match=message):
        rank(pool, **{"goals": "dielectric", **wrong})
