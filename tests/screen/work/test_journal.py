"""The run directory: transactions, resuming, locking, damage."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from mftscreen.errors import DataError
from mftscreen.screen.work.journal import DATABASE, Entry, Journal
from mftscreen.screen.work.outcome import Outcome


def test_outcome_round_trip_is_exact(outcome: Outcome) -> None:
    assert Outcome.from_json(outcome.to_json()) == outcome
    assert Outcome.from_json(Outcome().to_json()) == Outcome()


def test_rows_are_in_order_and_survive_closing(
    tmp_path: Path, outcome: Outcome
) -> None:
    failed = Outcome("unreadable", "row 2 is cut short")
    with Journal(tmp_path / "run") as journal:
        journal.begin({"command": "rank"})
        entries = [Entry("b", "k1"), Entry("x", None, failed), Entry("a", "k1")]
        journal.write(entries, {"k1": (outcome, bulk("Si"))})
        assert not journal.complete
        journal.finish()
    with Journal(tmp_path / "run", read_only=True) as journal:
        assert journal.complete
        assert journal.description == {"command": "rank"}
        rows = list(journal.rows(structures=True))
    assert [row.id for row in rows] == ["b", "x", "a"]
    assert [row.outcome for row in rows] == [outcome, failed, outcome]
    assert [row.duplicate_of for row in rows] == ["", "", "b"]
    assert np.array_equal(rows[2].atoms.positions, bulk("Si").positions)
    assert rows[1].atoms is None


def test_a_new_screening_keeps_outcomes_only(tmp_path: Path, outcome: Outcome) -> None:
    with Journal(tmp_path) as journal:
        journal.begin({})
        journal.write([Entry("1", "k1")], {"k1": (outcome, bulk("Si"))})
        journal.finish()
        journal.begin({})
        journal.write([Entry("2", None, outcome)], {})
        assert not journal.complete
        assert [row.id for row in journal.rows()] == ["2"]
        assert journal.known(["k1", "k2"]) == {"k1"}


def test_a_screening_that_fails_at_its_start_leaves_the_last_one(
    tmp_path: Path, outcome: Outcome
) -> None:
    with Journal(tmp_path) as journal:
        journal.begin({"n": 1})
        journal.write([Entry("1", "k1")], {"k1": (outcome, bulk("Si"))})
        journal.finish()
        journal.begin({"n": 2})
        assert (journal.complete, journal.description) == (True, {"n": 1})
        with pytest.raises(AttributeError):
            journal.write([Entry("2", None, "no outcome")], {})  # type: ignore[arg-type]
        assert (journal.complete, journal.description) == (True, {"n": 1})
    with Journal(tmp_path, read_only=True) as journal:
        assert [row.id for row in journal.rows()] == ["1"]
    with Journal(tmp_path) as journal:
        journal.begin({"n": 3})
        journal.finish()  # of an empty source
        assert (journal.complete, journal.description) == (True, {"n": 3})
        assert list(journal.rows()) == []
        journal.write([Entry("3", "k1")], {})
        assert np.array_equal(
            journal.structures([0])[0].positions, bulk("Si").positions
        )


def test_a_second_stage_is_told_from_the_first(
    tmp_path: Path, outcome: Outcome
) -> None:
    other = Outcome(formula="Si", values={"gap": (7.0,)})
    with Journal(tmp_path) as journal:
        journal.begin({})
        journal.write(
            [Entry("a", "k1"), Entry("b", "k2")],
            {"k1": (outcome, bulk("Si")), "k2": (outcome, bulk("Ge"))},
        )
        assert list(journal.rows(again=True)) == []
        journal.begin_again()
        assert list(journal.rows(again=True)) == []
        journal.write([Entry("b", "k3")], {"k3": (other, bulk("Ge"))})
        assert not journal.complete
        journal.finish()
    with Journal(tmp_path, read_only=True) as journal:
        assert [row.id for row in journal.rows()] == ["a", "b"]
        (again,) = journal.rows(again=True)
        assert (again.id, again.outcome, again.duplicate_of) == ("b", other, "")
    with Journal(tmp_path) as journal:
        journal.begin({})
        journal.write([Entry("b", "k3")], {})
        # the stages of the last screening are gone
        assert [row.outcome for row in journal.rows()] == [other]
        assert list(journal.rows(again=True)) == []


def test_a_second_stage_after_nothing(tmp_path: Path, outcome: Outcome) -> None:
    with Journal(tmp_path) as journal:
        journal.begin({"n": 1})
        journal.begin_again()
        assert journal.description == {"n": 1}
        assert list(journal.rows()) == list(journal.rows(again=True)) == []
        journal.write([Entry("b", "k1")], {"k1": (outcome, bulk("Si"))})
        assert list(journal.rows()) == []
        assert [row.id for row in journal.rows(again=True)] == ["b"]


@pytest.mark.parametrize(("place", "again"), [(1, False), (3, True)])
def test_a_candidate_of_a_stage_that_is_missing(
    tmp_path: Path, outcome: Outcome, place: int, again: bool
) -> None:
    with Journal(tmp_path) as journal:
        journal.begin({})
        journal.write([Entry("a", "k1")] * 2, {"k1": (outcome, bulk("Si"))})
        journal.begin_again()
        journal.write([Entry("a", "k1")] * 2, {})
    with sqlite3.connect(tmp_path / DATABASE) as raw:
        raw.execute("DELETE FROM candidates WHERE position = ?", (place + 1,))
    raw.close()
    with Journal(tmp_path, read_only=True) as journal:
        with pytest.raises(DataError, match="candidates are missing"):
            list(journal.rows(again=again))
        assert len(list(journal.rows(again=not again))) == 2


def test_failures_of_the_machine_are_tried_again(tmp_path: Path) -> None:
    outcomes = {
        status: (Outcome(status), bulk("Si"))
        for status in ("ok", "invalid_geometry", "out_of_memory", "worker_died")
    }
    with Journal(tmp_path) as journal:
        journal.begin({})
        journal.write([], outcomes)
        assert journal.known(outcomes) == {
            "ok", "invalid_geometry", "worker_died",
        }  # fmt: skip


def test_what_was_in_flight_when_a_process_died_is_suspect(
    tmp_path: Path, outcome: Outcome
) -> None:
    with Journal(tmp_path) as journal:
        journal.begin({})
        with journal.in_flight(["k1", "k2"]):
            pass  # died here, as far as the journal can tell
        assert journal.suspects(["k1", "k3"]) == set()
    with Journal(tmp_path) as journal:
        journal.begin({})
        assert journal.suspects(["k1", "k2", "k3"]) == {"k1", "k2"}
        with pytest.raises(KeyboardInterrupt), journal.in_flight(["k3"]):
            raise KeyboardInterrupt
    with Journal(tmp_path) as journal:
        assert journal.suspects(["k1", "k2", "k3"]) == set()
        journal.begin({})
        with journal.in_flight(["k1"]):
            journal.write([], {"k1": (outcome, bulk("Si"))})
    with Journal(tmp_path) as journal:
        assert journal.suspects(["k1", "k2"]) == set()
