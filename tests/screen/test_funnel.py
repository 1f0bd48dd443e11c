"""A funnel: who is kept, what is in the rows, what is computed again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import write

from mftscreen import Predictor, ScreenResult, load_model, rank
from mftscreen.errors import ConfigError, ModelError, UnknownPropertyError
from mftscreen.model.files.bundle import read_bundle, write_bundle
from mftscreen.screen.candidates.elements import ElementFilter
from mftscreen.screen.funnel import count_kept
from mftscreen.screen.relax.batched import RelaxSettings
from mftscreen.screen.result.rows import FAST_ONLY
from mftscreen.screen.result.screen_result import read_options, read_result
from mftscreen.screen.work import pipeline, workers
from mftscreen.screen.work.evaluation import EvaluationSettings
from mftscreen.screen.work.journal import Journal
from mftscreen.screen.work.workers import Results


@pytest.fixture(scope="module")
def slow_ranked(pool: Path, opposite: Path) -> ScreenResult:
    return rank(pool, goals="gap:max", models=opposite)


def by_id(result: ScreenResult, name: str = "gap") -> dict[str, float | None]:
    return {row.id: row.values.get(name) for row in result.rows}


def statuses(result: ScreenResult) -> dict[str, str]:
    return {row.id: row.status for row in result.rows}


@pytest.mark.parametrize(
    ("keep", "n_ranked", "expected"),
    [
        ("7%", 100, 7),
        ("7%", 101, 8),
        ("0.5 %", 1000, 5),
        (".5%", 10, 1),
        ("100%", 9, 9),
        ("10%", 0, 0),
        (3, 2, 2),
        ("3", 9, 3),
    ],
)
def test_how_many_are_kept(keep: str | int, n_ranked: int, expected: int) -> None:
    assert count_kept(keep, n_ranked) == expected


@pytest.mark.parametrize(
    "keep", [0, "0", "0%", "100.1%", -5, 0.1, "2.5", "10 percent", "", True, "1e3"]
)
def test_what_is_no_number_to_keep(keep: Any) -> None:
    with pytest.raises(ConfigError, match="neither a share such as 10% nor a number"):
        count_kept(keep, 100)


def test_the_slow_model_ranks_the_best_of_the_fast_one(
    pool: Path,
    tiny_model: Path,
    opposite: Path,
    ranked: ScreenResult,
    slow_ranked: ScreenResult,
    evaluated: list[int],
) -> None:
    result = rank(pool, goals="gap:max", models=tiny_model, then=opposite, keep=3)
    assert evaluated == [7, 3]  # of eight, one is a copy
    best = [row.id for row in ranked.rows[:3]]
    slow = [row for row in slow_ranked.rows if row.id in best]
    assert [row.id for row in slow] != best  # or the order would be either's
    assert [row.id for row in result.rows[:3]] == [row.id for row in slow]
    assert result.ranks == [1, 2, 3, None, None, None, None, None]
    for row, expected in zip(result.rows, slow, strict=False):
        assert (row.values, row.ood_p_value) == (expected.values, expected.ood_p_value)
        assert (row.ood, row.reason) == (expected.ood, expected.reason)
        assert row.status == "ok"
    # then what the fast model alone has seen, in its order, a copy, and what failed
    assert [row.id for row in result.rows[3:]] == [row.id for row in ranked.rows[3:]]
    assert [row.status for row in result.rows[3:]] == [FAST_ONLY] * 4 + [
        "unknown_element"
    ]
    assert [row.reason for row in result.failures] == [ranked.failures[0].reason]
    assert (result.model, result.fast_model) == (slow_ranked.model, ranked.model)

    records = {record["id"]: record for record in result.records()}
    assert {name: r["fast_gap"] for name, r in records.items()} == by_id(ranked)
    fast_ranks = {r.id: n for r, n in zip(ranked.rows, ranked.ranks, strict=True)}
    assert {name: r["fast_rank"] for name, r in records.items()} == fast_ranks
    for row in ranked.rows:
        assert records[row.id]["fast_ood"] == row.ood
        assert records[row.id]["fast_ood_p_value"] == row.ood_p_value
    for row in result.rows[3:]:
        assert records[row.id]["gap"] is records[row.id]["ood"] is None
        assert records[row.id]["reason"].startswith("seen by") == (row.id != "6")
        assert row.atoms is not None


def test_a_plain_screening_has_no_column_of_a_funnel(ranked: ScreenResult) -> None:
    assert not [name for name in ranked.columns if "fast" in name]


def test_a_copy_of_what_is_kept_has_its_values(
    pool: Path, tiny_model: Path, opposite: Path, evaluated: list[int]
) -> None:
    result = rank(pool, goals="gap:min", models=tiny_model, then=opposite, keep=2)
    assert evaluated == [7, 2]
    rows = {row.id: row for row in result.rows}
    assert {name for name, row in rows.items() if row.status == "ok"} == {"1", "2", "7"}
    assert rows["7"].values == rows["1"].values
    assert rows["7"].duplicate_of == "1"
    assert result.rows[2] is rows["7"]
    assert result.ranks[:3] == [1, 2, None]


def test_equivalent_copies_take_no_place(
    tmp_path: Path, tiny_model: Path, opposite: Path
) -> None:
    crystals = [
        bulk("MgO", "rocksalt", a=a, cubic=c) for a in (4.3, 4.2) for c in (0, 1)
    ]
    write(tmp_path / "pool.extxyz", crystals)
    arguments = {"goals": "gap:max", "models": tiny_model, "then": opposite}
    found = rank(tmp_path / "pool.extxyz", **arguments, keep=2, duplicates="equivalent")
    assert list(statuses(found).values()) == ["ok", "ok", FAST_ONLY, FAST_ONLY]
    assert [row.duplicate_of for row in found.rows[2:]] == [
        "pool.extxyz#0", "pool.extxyz#2",
    ]  # fmt: skip
    plain = rank(tmp_path / "pool.extxyz", **arguments, keep=2)
    assert {row.id for row in plain.top(4)} == {"pool.extxyz#0", "pool.extxyz#1"}


def test_several_goals_keep_the_first_fronts(
    pool: Path, two_headed: Path, opposite: Path
) -> None:
    goals = ["gap:max", "alpha:min"]
    fast = rank(pool, goals=goals, models=two_headed)
    result = rank(pool, goals=goals, models=two_headed, then=opposite, keep="50%")
    kept = [row for row in result.rows if row.status == "ok"]
    assert {row.id for row in kept} == {row.id for row in fast.rows[:3]}
    assert None not in result.fronts[:3]
    assert set(result.fronts[3:]) == {None}
    slow = rank(pool, goals=goals, models=opposite)
    for row in kept:
        assert row.values["alpha"] == by_id(slow, "alpha")[row.id]
        assert row.fast is not None
        assert row.fast.values["alpha"] == by_id(fast, "alpha")[row.id]


def test_policies_and_bounds_of_the_fast_model(
    pool: Path, tiny_model: Path, opposite: Path, ranked: ScreenResult
) -> None:
    arguments = {"models": tiny_model, "then": opposite, "keep": "50%"}
    result = rank(pool, goals="gap:max", ood="exclude", **arguments)
    # half of the four that are not flagged
    assert {name for name, s in statuses(result).items() if s == "ok"} == {"3", "4"}
    (gallium,) = (row for row in result.rows if row.id == "5")
    assert gallium.status == FAST_ONLY
    assert "elements never seen: As, Ga" in gallium.reason
    low = by_id(ranked)["3"]
    bounded = rank(pool, goals=f"gap<={low}", **arguments)
    assert {n for n, s in statuses(bounded).items() if s == "ok"} == {"1", "2", "7"}
    (beyond,) = (row for row in bounded.rows if row.id == "4")
    assert beyond.reason.startswith("seen by the fast model only; gap = ")
    assert "is not at most" in beyond.reason


def test_what_the_slow_model_cannot_do_fails_with_its_reason(
    pool: Path, tiny_model: Path, opposite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate = workers.evaluate

    def refuse(settings: EvaluationSettings, structures: Sequence[Atoms]) -> Results:
        found = evaluate(settings, structures)
        if str(opposite) in settings.models:
            outcome, atoms = found[0]
            failed = type(outcome)("invalid_structure", "too slow", outcome.formula)
            found[0] = (failed, atoms)
        return found

    monkeypatch.setattr(workers, "evaluate", refuse)
    result = rank(pool, goals="gap:max", models=tiny_model, then=opposite, keep=3)
    failed, lead = result.failures
    assert {failed.id, lead.id} == {"4", "6"}
    (failed,) = (row for row in (failed, lead) if row.id == "4")
    assert (failed.status, failed.reason) == ("invalid_structure", "too slow")
    assert failed.values == {}
    assert failed.fast is not None
    assert failed.fast_rank == 3


def test_filters_and_nobody_kept(
    pool: Path, tiny_model: Path, opposite: Path, tmp_path: Path, evaluated: list[int]
) -> None:
    refuse = ElementFilter(exclude=frozenset({"Mg", "Ga", "Si"}))
    result = rank(
        pool, goals="gap:max", models=tiny_model, then=opposite, elements=refuse,
        run=tmp_path,
    )  # fmt: skip
    assert sum(evaluated) == 1
    assert sorted(set(statuses(result).values())) == ["filtered", "unknown_element"]
    with Journal(tmp_path, read_only=True) as journal:
        assert journal.complete


def test_relaxed_once_for_both(pool: Path, tiny_model: Path, opposite: Path) -> None:
    relax = RelaxSettings(fmax=1e-6, steps=2)
    result = rank(
        pool, goals="gap:max", models=tiny_model, then=opposite, keep=3, relax=relax
    )
    for row in result.rows[:3]:
        assert row.status == "ok"
        assert row.relaxation is not None
        assert not row.relaxation.converged
        assert row.reason.count("not converged in 2 steps") == 1
        assert row.atoms is not None
        (expected,) = Predictor(load_model(opposite), properties=["gap"])([row.atoms])
        assert row.values["gap"] == pytest.approx(expected.properties["gap"], abs=1e-9)


def test_a_funnel_goes_on_where_it_ended(
    pool: Path,
    tiny_model: Path,
    opposite: Path,
    tmp_path: Path,
    evaluated: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pipeline, "CHUNK", 2)
    arguments = {"goals": "gap:max", "models": tiny_model, "then": opposite, "keep": 5}
    whole = rank(pool, **arguments)
    assert evaluated == [2, 2, 2, 1, 2, 2, 1]
    counting = workers.evaluate
    for calls in (1, 3, 1):  # the last one in the second stage
        left = calls

        def stop(settings: EvaluationSettings, structures: Sequence[Atoms]) -> Results:
            nonlocal left
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
            return counting(settings, structures)

        monkeypatch.setattr(workers, "evaluate", stop)
        with pytest.raises(KeyboardInterrupt):
            rank(pool, **arguments, run=tmp_path)
        with Journal(tmp_path, read_only=True) as journal:
            assert not journal.complete
            partly = read_result(journal, read_options(journal))
    assert [row.status for row in partly.rows].count("ok") == 2
    assert partly.ranks.count(None) == 6
    monkeypatch.setattr(workers, "evaluate", counting)
    evaluated.clear()
    resumed = rank(pool, **arguments, run=tmp_path)
    assert evaluated == [2, 1]
    assert list(resumed.records()) == list(whole.records())
    assert resumed.rows == whole.rows
    evaluated.clear()
    again = rank(pool, **arguments, run=tmp_path)
    assert evaluated == []
    assert again.rows == whole.rows


def test_a_changed_funnel_computes_what_is_new(
    pool: Path,
    tiny_model: Path,
    opposite: Path,
    other_member: Path,
    tmp_path: Path,
    evaluated: list[int],
) -> None:
    def run(**arguments: Any) -> list[str]:
        evaluated.clear()
        result = rank(pool, goals="gap:max", run=tmp_path, **arguments)
        return [row.id for row in result.rows if row.status == "ok"]

    assert len(run(models=tiny_model, then=opposite, keep=3)) == 3
    assert evaluated == [7, 3]
    assert len(run(models=tiny_model, then=opposite, keep=5)) == 5
    assert evaluated == [2]
    assert len(run(models=tiny_model, then=opposite, keep=2)) == 2
    assert evaluated == []
    assert len(run(models=tiny_model, then=other_member, keep=2)) == 2
    assert evaluated == [2]
    assert len(run(models=tiny_model)) == 7
    assert evaluated == []
    # what the slow model has seen in a funnel, it has seen
    assert len(run(models=opposite)) == 7
    assert evaluated == [2]


def test_other_goals_later_rank_what_the_slow_model_has_seen(
    pool: Path, tiny_model: Path, opposite: Path, tmp_path: Path
) -> None:
    first = rank(
        pool, goals="gap:max", models=tiny_model, then=opposite, keep=3, run=tmp_path
    )
    with Journal(tmp_path, read_only=True) as journal:
        assert journal.description["funnel"]["keep"] == "3"
        result = read_result(journal, read_options(journal, ["gap:min"]))
    assert [r.id for r in result.rows[:3]] == [r.id for r in reversed(first.rows[:3])]
    assert [r.id for r in result.rows[3:6]] == [r.id for r in first.rows[5:2:-1]]
    assert [row.fast_rank for row in result.rows[3:6]] == [1, 2, 3]


def test_diverse_candidates_are_of_the_kept(
    pool: Path, tiny_model: Path, opposite: Path
) -> None:
    result = rank(
        pool, goals="gap:max", models=tiny_model, then=opposite, keep=4, diverse=3
    )
    assert {row.formula for row in result.rows[:3]} == {"MgO", "GaAs", "Si"}
    assert [row.status for row in result.rows[:5]] == ["ok"] * 4 + [FAST_ONLY]


def test_ensembles_in_both_stages(
    pool: Path, tiny_model: Path, other_member: Path, opposite: Path
) -> None:
    result = rank(
        pool,
        goals="gap:max",
        models=[tiny_model, other_member],
        then=[opposite, tiny_model],
        keep=2,
    )
    assert {len(row.spreads) for row in result.rows[:2]} == {1}
    assert result.fast_model.count("+") == result.model.count("+") == 1


def test_both_stages_have_the_same_workers(
    pool: Path, tiny_model: Path, opposite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []

    def note(
        settings: EvaluationSettings, n_jobs: int, scheduler: str | None
    ) -> workers.Workers:
        given.append((Path(settings.models[0]), n_jobs, scheduler))
        return workers.Workers(settings)

    monkeypatch.setattr("mftscreen.screen.rank.Workers", note)
    rank(
        pool, goals="gap:max", models=tiny_model, then=opposite, n_jobs=3,
        scheduler="tcp://somewhere:1",
    )  # fmt: skip
    assert given == [
        (tiny_model, 3, "tcp://somewhere:1"), (opposite, 3, "tcp://somewhere:1"),
    ]  # fmt: skip


def test_what_is_refused(
    pool: Path, tiny_model: Path, two_headed: Path, opposite: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"

    def refused(error: type[Exception], text: str, **changes: Any) -> None:
        arguments = {"goals": "gap:max", "models": tiny_model, "then": opposite}
        with pytest.raises(error, match=text):
            rank(pool, run=run, **{**arguments, **changes})
        assert not run.exists()

    refused(ModelError, "both stages of the funnel have the same", then=tiny_model)
    refused(ModelError, "is a pretrained model", then="DPA-3.1-3M")
    refused(ConfigError, "keep", keep="half")
    refused(
        UnknownPropertyError,
        "alpha",
        goals="alpha:max",
        models=two_headed,
        then=tiny_model,
    )
    bundle = read_bundle(opposite)
    head = bundle.card.properties["gap"]
    spec = head.spec.model_copy(update={"unit": "Ha"})
    heads = {"gap": head.model_copy(update={"spec": spec})}
    card = bundle.card.model_copy(update={"properties": heads})
    path = tmp_path / "hartree.mft"
    write_bundle(path, card, bundle.checkpoint, bundle.reference)
    refused(UnknownPropertyError, "gap in eV, the slow one in Ha", then=path)


def test_a_source_without_candidates_in_a_folder_that_was_used(
    pool: Path, tiny_model: Path, opposite: Path, tmp_path: Path
) -> None:
    def funnel(**changes: Any) -> ScreenResult:
        return rank(
            pool, goals="gap:max", models=tiny_model, then=opposite, run=tmp_path,
            **changes,
        )  # fmt: skip

    assert len(funnel().rows) == 8
    assert funnel(query="nothing=1").rows == []
    assert len(funnel().rows) == 8


def test_options_are_those_of_the_screening(
    pool: Path, tiny_model: Path, opposite: Path, tmp_path: Path
) -> None:
    rank(
        pool, goals="gap:max", models=tiny_model, then=opposite, run=tmp_path,
        ood="demote",
    )  # fmt: skip
    with Journal(tmp_path, read_only=True) as journal:
        options = read_options(journal)
        assert options.policy == "demote"
        (source,) = journal.description["model_sources"]
        (fast,) = journal.description["funnel"]["model_sources"]
    assert Path(source) == opposite
    assert Path(fast) == tiny_model


def test_the_slow_model_sees_the_charge(
    tmp_path: Path, bulk_model: Path, tiny_model: Path
) -> None:
    oxide = bulk("MgO", "rocksalt", a=4.2)
    ion = oxide.copy()
    ion.info["charge"] = -1
    write(tmp_path / "some.extxyz", [oxide, ion])
    result = rank(
        tmp_path / "some.extxyz", goals="gap:max", models=tiny_model, then=bulk_model,
        keep="100%",
    )  # fmt: skip
    neutral, charged = (row for row in result.rows if row.id.endswith(("0", "1")))
    assert (neutral.trust, charged.trust) == ("ok", "flagged")
    assert "a charge of -1" in charged.reason
