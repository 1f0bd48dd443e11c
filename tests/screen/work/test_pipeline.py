"""From candidates to the journal: one row each, in order, evaluated once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from mftscreen.errors import DataError, StructureError
from mftscreen.model.loading import load_model
from mftscreen.predictor import Predictor
from mftscreen.screen.candidates.stream import Candidate
from mftscreen.screen.work import pipeline
from mftscreen.screen.work.evaluation import EvaluationSettings, Evaluator
from mftscreen.screen.work.journal import Journal, JournalRow
from mftscreen.screen.work.pipeline import screen
from mftscreen.screen.work.workers import Workers

MGO = bulk("MgO", "rocksalt", a=4.2)


@pytest.fixture(scope="module")
def evaluator(tiny_model: Path) -> Evaluator:
    return Evaluator(EvaluationSettings((str(tiny_model),), ("gap",)))


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "CHUNK", 2)


def oxides(n: int) -> list[Candidate]:
    crystals = (bulk("MgO", "rocksalt", a=4.1 + 0.01 * k) for k in range(n))
    return [Candidate(f"oxide-{k}", atoms) for k, atoms in enumerate(crystals)]


def run(
    candidates: Iterable[Candidate], evaluator: Evaluator, journal: Journal
) -> list[tuple[int, int]]:
    journal.begin({})
    with Workers(evaluator.settings) as workers:
        done = list(screen(candidates, evaluator.key, workers, journal))
    journal.finish()
    return done


def run_once(candidates: Iterable[Candidate], evaluator: Evaluator) -> list[JournalRow]:
    with Journal(None) as journal:
        run(candidates, evaluator, journal)
        return list(journal.rows(structures=True))


def test_failed_candidates_keep_their_place_and_their_reason(
    evaluator: Evaluator,
) -> None:
    candidates = [
        Candidate("good", MGO),
        Candidate("broken", DataError("frame 1 is not valid extxyz", path="a.xyz")),
        Candidate("empty", Atoms()),
        Candidate("americium", bulk("Am", "fcc", a=4.9)),
        Candidate("big", bulk("Si", cubic=True)),
        Candidate("overlap", Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.1]])),
        Candidate("nan", Atoms("O", positions=[[np.nan, 0, 0]])),
        Candidate("flat", Atoms("O", cell=[3, 3, 0], pbc=True)),
        Candidate("last", bulk("Si")),
    ]
    rows = run_once(iter(candidates), evaluator)
    assert [row.id for row in rows] == [candidate.id for candidate in candidates]
    assert [row.outcome.status for row in rows] == [
        "ok", "unreadable", "invalid_geometry", "unknown_element", "ok",
        "invalid_geometry", "invalid_geometry", "invalid_geometry", "ok",
    ]  # fmt: skip
    for row in rows:
        ok = row.outcome.status == "ok"
        assert (set(row.outcome.values) == {"gap"}) == ok
        assert bool(row.outcome.reason) != ok
    assert rows[1].outcome.reason == "a.xyz: frame 1 is not valid extxyz"
    assert (rows[1].atoms, rows[1].outcome.formula) == (None, "")
    assert rows[3].outcome.formula == "Am"
    assert "Am" in rows[3].outcome.reason


def test_outcome_is_that_of_the_predictor(
    evaluator: Evaluator, tiny_model: Path
) -> None:
    (row,) = run_once([Candidate("x", MGO)], evaluator)
    (expected,) = Predictor(load_model(tiny_model), properties=["gap"])([MGO])
    assert row.outcome.values == {"gap": (expected.properties["gap"],)}
    assert row.outcome.formula == "MgO"
    assert row.outcome.p_values == {"gap": 1.0}
    assert row.outcome.unseen_elements == {"gap": []}
    assert row.outcome.low_dimensional is False
    assert row.atoms == MGO


def test_error_keeps_its_own_status(evaluator: Evaluator) -> None:
    refused = StructureError("excluded elements: Pb")
    refused.status = "filtered"
    (row,) = run_once([Candidate("x", refused)], evaluator)
    assert (row.outcome.status, row.outcome.reason) == (
        "filtered", "excluded elements: Pb",
    )  # fmt: skip


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("copies", [[0, 1], [0, 4], [1, 2, 6]])
def test_equal_structures_are_evaluated_once(
    evaluator: Evaluator, copies: list[int]
) -> None:
    candidates = oxides(7)
    for k in copies[1:]:
        candidates[k] = Candidate(f"copy-{k}", candidates[copies[0]].structure)
    with Journal(None) as journal:
        progress = run(candidates, evaluator, journal)
        rows = list(journal.rows())
    assert sum(n_done for n_done, _ in progress) == 7
    assert sum(n_reused for _, n_reused in progress) == len(copies) - 1
    assert [row.id for row in rows] == [c.id for c in candidates]
    first = rows[copies[0]]
    for k in copies[1:]:
        assert rows[k].duplicate_of == first.id
        assert rows[k].outcome == first.outcome


@pytest.mark.usefixtures("small_chunks")
def test_second_run_evaluates_only_what_is_new(evaluator: Evaluator) -> None:
    candidates = oxides(7)
    longer = [Candidate("new", bulk("Si")), *reversed(candidates)]
    with Journal(None) as journal:
        assert sum(n for _, n in run(candidates, evaluator, journal)) == 0
        before = {row.id: row.outcome for row in journal.rows()}
        assert sum(n for _, n in run(candidates, evaluator, journal)) == 7
        assert {row.id: row.outcome for row in journal.rows()} == before
        assert sum(n for _, n in run(longer, evaluator, journal)) == 7
        rows = list(journal.rows())
    assert [row.id for row in rows] == [candidate.id for candidate in longer]
    assert {row.id: row.outcome for row in rows if row.id != "new"} == before


def test_failed_structures_are_not_tried_again(evaluator: Evaluator) -> None:
    candidates = [Candidate("empty", Atoms()), Candidate("lead", bulk("Pb"))]
    with Journal(None) as journal:
        run(candidates, evaluator, journal)
        assert run(candidates, evaluator, journal) == [(2, 2)]


@pytest.mark.usefixtures("small_chunks")
def test_candidates_are_streamed_and_each_chunk_is_written(
    evaluator: Evaluator, tmp_path: Path
) -> None:
    taken = 0

    def endless() -> Iterator[Candidate]:
        nonlocal taken
        for candidate in cycle(oxides(9)):
            taken += 1
            yield candidate

    with Journal(tmp_path) as journal, Workers(evaluator.settings) as workers:
        journal.begin({})
        progress = screen(endless(), evaluator.key, workers, journal)
        for step in range(1, 4):
            next(progress)
            with Journal(tmp_path, read_only=True) as reader:
                assert len(list(reader.rows())) == 2 * step
                assert not reader.complete
            assert taken <= 2 * (step + 2)


def test_candidates_are_not_changed(evaluator: Evaluator) -> None:
    atoms = MGO.copy()
    run_once([Candidate("x", atoms)], evaluator)
    assert atoms == MGO
    assert atoms.info == {}
    assert atoms.calc is None


def test_nothing_to_screen_is_complete(evaluator: Evaluator) -> None:
    with Journal(None) as journal:
        assert run([], evaluator, journal) == []
        assert journal.complete
        assert list(journal.rows()) == []
