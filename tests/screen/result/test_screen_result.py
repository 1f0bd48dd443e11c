"""``mftscreen.rank``: what is ranked, reused, refused and asked for afterwards."""

from __future__ import annotations

import io
import json
import os
import re
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.constraints import FixAtoms
from ase.db import connect

from mftscreen import ScreenResult, rank
from mftscreen.errors import (
    ConfigError,
    DataError,
    UnknownModelError,
    UnknownPropertyError,
)
from mftscreen.model.files.bundle import PropertyHead, read_bundle, write_bundle
from mftscreen.properties import PropertySpec
from mftscreen.screen.candidates.elements import ElementFilter
from mftscreen.screen.candidates.stream import Candidate
from mftscreen.screen.order.goals import Goal
from mftscreen.screen.order.rank_options import RankOptions
from mftscreen.screen.order.ranking import order_candidates
from mftscreen.screen.relax.batched import RelaxSettings
from mftscreen.screen.result.screen_result import read_options, read_result
from mftscreen.screen.work import pipeline, workers
from mftscreen.screen.work.evaluation import EvaluationSettings, Evaluator
from mftscreen.screen.work.journal import Journal, JournalRow
from mftscreen.screen.work.pipeline import screen
from mftscreen.screen.work.workers import Results, Workers

POOL = [
    *(bulk("MgO", "rocksalt", a=4.1 + 0.05 * k) for k in range(4)),
    bulk("GaAs", "zincblende", a=5.65),
    Atoms("Pb"),
    bulk("MgO", "rocksalt", a=4.1),
    bulk("Si", cubic=True),
]


def write_pool(path: Path, structures: Sequence[Atoms] = POOL) -> Path:
    with connect(path, append=False) as database:
        for atoms in structures:
            database.write(atoms)
    return path


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pool(tmp_path_factory.mktemp("pool") / "pool.db")


@pytest.fixture(scope="module")
def two_headed(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with an extensive property beside the gap."""
    return _with_alpha(tiny_model, tmp_path_factory.mktemp("two") / "two.mft", 1.0)


@pytest.fixture(scope="module")
def other_member(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model with other weights."""
    return _with_alpha(tiny_model, tmp_path_factory.mktemp("other") / "o.mft", 1.1)


def _with_alpha(tiny_model: Path, path: Path, scale: float) -> Path:
    import torch

    bundle = read_bundle(tiny_model)
    gap = bundle.card.properties["gap"]
    alpha = PropertyHead(
        **{
            **dict(gap),
            "spec": PropertySpec(
                name="alpha", label="polarizability", unit="Å^3", head="extensive"
            ),
            "head": "alpha",
        }
    )
    card = bundle.card.model_copy(update={"properties": {"gap": gap, "alpha": alpha}})
    content = torch.load(io.BytesIO(bundle.checkpoint), weights_only=True)
    for name, tensor in content["model"].items():
        if ".fitting_net." in name and torch.is_tensor(tensor):
            content["model"][name] = tensor * scale
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_bundle(path, card, buffer.getvalue(), bundle.reference)
    return path


@pytest.fixture
def evaluated(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of structures that were evaluated, one for each chunk."""
    counts: list[int] = []
    evaluate = workers.evaluate

    def count(settings: EvaluationSettings, structures: Sequence[Atoms]) -> Results:
        counts.append(len(structures))
        return evaluate(settings, structures)

    monkeypatch.setattr(workers, "evaluate", count)
    return counts


def test_every_candidate_has_one_row_in_the_order_of_ranks(
    pool: Path, tiny_model: Path
) -> None:
    result = rank(pool, goals="gap:max", models=tiny_model)
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
        assert row.atoms == POOL[int(row.id) - 1]


def test_equivalents_are_copies_if_asked_for(tmp_path: Path, tiny_model: Path) -> None:
    magnesia, silicon = bulk("MgO", "rocksalt", a=4.2), bulk("Si")
    turned = magnesia.copy()
    turned.rotate(40, (1, 2, 3), rotate_cell=True)
    cubic = bulk("MgO", "rocksalt", a=4.2, cubic=True)
    lead = [Atoms("Pb"), Atoms("Pb", cell=[3.0] * 3, pbc=True)]  # not known: no values
    other = bulk("MgO", "rocksalt", a=4.242)
    structures = [
        silicon,
        magnesia,
        *lead,
        turned,
        other,
        cubic,
        magnesia,
        cubic,
        *lead,
    ]
    pool = write_pool(tmp_path / "pool.db", structures)

    def copies(result: ScreenResult) -> dict[str, str]:
        return {row.id: row.duplicate_of for row in result.rows if row.duplicate_of}

    run = tmp_path / "run"
    identical = {"8": "2", "9": "7", "10": "3", "11": "4"}
    result = rank(pool, goals="gap:max", models=tiny_model, run=run)
    assert copies(result) == identical
    assert sum(r is not None for r in result.ranks) == 5
    with Journal(run, read_only=True) as journal:
        options = read_options(journal, duplicates="equivalent")
        again = read_result(journal, options, structures=False)
    expected = identical | dict.fromkeys("5789", "2")
    assert copies(again) == expected
    assert [row.id for row in again.top(9)] == [
        row.id for row in result.top(9) if row.id in "126"
    ]
    assert {row.atoms for row in again.rows} == {None}
    at_once = rank(
        pool, goals="gap:max", models=tiny_model, duplicates="equivalent", run=run
    )
    assert copies(at_once) == expected
    with Journal(run, read_only=True) as journal:
        assert read_options(journal).duplicates == "equivalent"
    with pytest.raises(ConfigError, match="duplicates: one of identical, equivalent"):
        rank(pool, goals="gap:max", models=tiny_model, duplicates="similar")  # type: ignore[arg-type]


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


def test_records_and_table_have_the_same_columns(pool: Path, tiny_model: Path) -> None:
    result = rank(pool, goals="gap:min", models=[tiny_model])
    assert {tuple(record) for record in result.records()} == {tuple(result.columns)}
    table = result.to_pandas()
    assert list(table.columns) == result.columns
    assert table["id"].tolist() == [row.id for row in result.rows]
    assert table["model"].unique().tolist() == [result.model]


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


def test_bounds_take_the_rank_and_are_named(pool: Path, tiny_model: Path) -> None:
    values = [
        row.values["gap"]
        for row in rank(pool, goals="gap:max", models=tiny_model).top(6)
    ]
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


def test_options_survive_json() -> None:
    goals = {
        "a": Goal("minimize", weight=0.3),
        "b": Goal("target", 1 / 3, at_least=-1e-7),
        "c": Goal("target", (-2, 1e30), at_most=5e30),
        "d": Goal("bound", at_least=-0.0, at_most=2),
        "e": Goal(),
    }
    options = RankOptions(goals, "desirability", "exclude", 0.1, 0.8, 7, "equivalent")
    text = json.dumps(options.to_json(), allow_nan=False)
    assert RankOptions.from_json(json.loads(text)) == options


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
    pool: Path, tiny_model: Path, tmp_path: Path, evaluated: list[int]
) -> None:
    rank(pool, goals="gap:max", models=tiny_model, run=tmp_path / "run")
    evaluated.clear()
    new = [bulk("Si"), *reversed(POOL)]
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
    pool: Path, tiny_model: Path, other_member: Path
) -> None:
    members = [
        rank(pool, goals="gap:max", models=model)
        for model in (tiny_model, other_member)
    ]
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


def test_journal_without_the_property(
    pool: Path, tiny_model: Path, tmp_path: Path
) -> None:
    rank(pool, goals="gap:max", models=tiny_model, run=tmp_path)
    with (
        Journal(tmp_path, read_only=True) as journal,
        pytest.raises(ConfigError, match="alpha was not predicted; there is gap"),
    ):
        read_result(journal, RankOptions({"alpha": Goal()}))


@pytest.fixture(scope="module")
def ranked(pool: Path, tiny_model: Path) -> ScreenResult:
    return rank(pool, goals="gap:max", models=tiny_model)


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
        ("not low_dimensional", lambda r: not r.low_dimensional),
        ("low_dimensional", lambda r: bool(r.low_dimensional)),
        (" '7' == id or rank > 100", lambda r: r.id == "7"),
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
        ("x = gap > 0", "not understood"),
        ("gap > 'a' or 1", "gap holds no texts like 'a'"),
        ("colour == 'red'", "there is no column colour, but rank, id, formula"),
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


@pytest.mark.slow
# a worker that is killed is what Dask warns about
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_dask_worker_killed_in_the_middle(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr(pipeline, "CHUNK", 8)
    settings = EvaluationSettings((str(tiny_model),), ("gap",), device="cpu")
    evaluator = Evaluator(settings)
    crystals = [bulk("MgO", "rocksalt", a=4 + 0.005 * k) * (2, 2, 2) for k in range(96)]
    candidates = [Candidate(f"c-{k}", atoms) for k, atoms in enumerate(crystals)]
    candidates.insert(50, Candidate("broken", DataError("row 50 is cut short")))

    def run(scheduler: str | None, kill: Callable[[], None]) -> list[JournalRow]:
        with (
            Journal(None) as journal,
            Workers(evaluator.settings, 1, scheduler) as made,
        ):
            journal.begin({})
            for step, _ in enumerate(screen(candidates, evaluator.key, made, journal)):
                if step == 2:
                    kill()
            assert journal.complete
            return list(journal.rows())

    alone = run(None, lambda: None)
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0"
    ) as cluster:
        pid = cluster.workers[0].pid
        spread_out = run(
            cluster.scheduler_address, lambda: os.kill(pid, signal.SIGKILL)
        )
        assert cluster.workers[0].pid != pid  # the nanny has put another one there
    assert [row.id for row in spread_out] == [row.id for row in alone]
    assert [row.outcome.status for row in alone].count("ok") == 96
    for one, other in zip(alone, spread_out, strict=True):
        assert other.outcome.status == one.outcome.status
        assert other.outcome.reason == one.outcome.reason
        assert other.outcome.p_values == one.outcome.p_values
        assert other.outcome.values == {
            name: pytest.approx(value, rel=1e-9)
            for name, value in one.outcome.values.items()
        }
