"""The run directory of a screening: what was evaluated, kept through any crash."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from ase import Atoms

from mftscreen.errors import DataError
from mftscreen.screen.candidates.carried import Carried
from mftscreen.screen.work.journal_check import damaged
from mftscreen.screen.work.journal_file import DATABASE, errors
from mftscreen.screen.work.journal_store import Store
from mftscreen.screen.work.outcome import Outcome, pack_atoms, unpack_atoms

__all__ = ["DATABASE", "Entry", "Journal", "JournalRow"]

_TRANSIENT = ("out_of_memory",)
"""Failures of the machine, not of the structure: tried again in the next run. What
ended workers has done so alone as well, and would cost each run more of them."""

_MISSING = "candidates are missing"

_NO_END = 2**62
"""A place that no candidate comes to."""


@dataclass(frozen=True)
class Entry:
    """A candidate as it came from its source.

    Attributes
    ----------
    id : str
    key : str or None
        What its outcome is filed under; None if it could not be read.
    outcome : Outcome or None
        Why it could not be read.
    carried : mapping of str to str, int, float or bool
        What else its source says of it.
    """

    id: str
    key: str | None
    outcome: Outcome | None = None
    carried: Carried = field(default_factory=dict)


@dataclass(frozen=True)
class JournalRow:
    """A candidate with its outcome.

    Attributes
    ----------
    id : str
    outcome : Outcome
    duplicate_of : str
        Id of an earlier candidate with the same structure; empty if there is none.
    atoms : Atoms or None
        The structure, relaxed if that was asked for; only if it was asked for.
    carried : mapping of str to str, int, float or bool
        What else its source says of it; only if it was asked for.
    """

    id: str
    outcome: Outcome
    duplicate_of: str
    atoms: Atoms | None
    carried: Carried = field(default_factory=dict)


class Journal:
    """Outcomes by content, and the candidates of the last screening in their order.

    An outcome is filed under a key made of the structure, the models and the settings.
    A screening that is started again therefore finds what is done, in whatever order
    the candidates come, and computes what a changed model or setting makes different.
    Outcomes stay, also those of models that are not used any more.

    Every :meth:`write` is one transaction of SQLite with a write-ahead log: killed at
    any time, the journal holds all of it or nothing. The log needs shared memory, and
    the lock :manpage:`flock(2)`, so that the folder has to be on a local file system.
    A journal that was closed needs neither and can be read anywhere. Each row has a
    checksum: what has changed on the disk is computed again or ends in an error.

    Parameters
    ----------
    folder : Path or None
        Made if it does not exist. None keeps the journal in a temporary file, which
        goes with the process.
    read_only : bool, default False
        Read beside a screening that runs, in the state of this moment; nothing is made.

    Raises
    ------
    DataError
        If another screening uses the folder, it cannot be written, or it holds no
        journal, a damaged one, or one of another format. Every method raises it, too,
        if the journal is damaged.
    """

    def __init__(self, folder: Path | None, *, read_only: bool = False) -> None:
        self.folder = folder
        self._begun: str | None = None
        self._suspects: frozenset[str] = frozenset()
        self._store = Store(folder, read_only=read_only)
        try:
            if not read_only:
                self._suspects = self._last_in_flight()
            elif self._store.meta("description") is None:
                msg = (
                    "holds no results yet; they come with the first candidates "
                    "evaluated"
                )
                raise DataError(msg, path=folder)
        except BaseException:
            self.close()
            raise

    def _last_in_flight(self) -> frozenset[str]:
        try:
            return frozenset(json.loads(self._store.meta("in_flight") or "[]"))
        except DataError:  # of no use any more, and no reason not to go on
            return frozenset()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database and give the folder free."""
        self._store.close()

    @property
    def complete(self) -> bool:
        """Whether the last screening that wrote anything came to its end."""
        return self._store.meta("complete") == "true"

    @property
    def description(self) -> dict[str, Any]:
        """What :meth:`begin` was told of that screening."""
        with errors(self.folder):
            return dict(json.loads(self._store.meta("description") or "{}"))

    @property
    def sources(self) -> list[str]:
        """Files, folders, patterns and URLs that candidates were read from."""
        source = self.description.get("source")
        return source if isinstance(source, list) else [source] if source else []

    def begin(self, description: Mapping[str, Any]) -> None:
        """Start a screening: its candidates will replace those of the last one.

        They do with the first :meth:`write`, so that a screening which fails before
        leaves the last one as it was.

        Parameters
        ----------
        description : mapping of str to object
            Of the screening, for :attr:`description`; must fit into JSON.
        """
        self._begun = json.dumps(dict(description))

    def finish(self) -> None:
        """Mark the screening as complete."""
        with self._store.transaction():
            self._replace_last()
            self._store.set_meta("complete", "true")
        self._begun = None

    def begin_again(self) -> None:
        """Start the second stage of a screening.

        What is written from now on are candidates of the first stage that are evaluated
        once more, by other models. :meth:`rows` tells both apart.
        """
        with self._store.transaction():
            self._replace_last()
            self._store.set_meta("n_first", str(self._store.n_candidates()))
        self._begun = None

    def _replace_last(self) -> None:
        if self._begun is not None:
            self._store.clear_candidates()
            self._store.set_meta("complete", "false")
            self._store.drop_meta("n_first")
            self._store.set_meta("description", self._begun)

    def known(self, keys: Collection[str]) -> set[str]:
        """Return those of `keys` whose outcome needs no further attempt.

        One that has changed since it was written is not among them.
        """
        return {
            key
            for key, outcome in self._store.outcomes(list(keys))
            if Outcome.from_json(outcome).status not in _TRANSIENT
        }

    def suspects(self, keys: Collection[str]) -> set[str]:
        """Return those of `keys` that may end the process which evaluates them.

        They were evaluated when a process ended that used the journal before, see
        :meth:`in_flight`.
        """
        return set(self._suspects.intersection(keys))

    @contextmanager
    def in_flight(self, keys: Collection[str]) -> Iterator[None]:
        """Note the keys of what this process evaluates, in case it dies of that.

        :meth:`write` removes the note, and so does whatever a ``with`` block raises.

        Parameters
        ----------
        keys : collection of str

        Raises
        ------
        DataError
            As :meth:`write`.
        """
        with self._store.transaction():
            self._store.set_meta("in_flight", json.dumps(list(keys)))
        try:
            yield
        except BaseException:
            with suppress(DataError), self._store.transaction():
                self._store.set_meta("in_flight", "[]")
            raise

    def write(
        self,
        entries: Sequence[Entry],
        outcomes: Mapping[str, tuple[Outcome, Atoms]],
    ) -> None:
        """Add candidates and new outcomes, all or nothing.

        Parameters
        ----------
        entries : sequence of Entry
            In the order of the source.
        outcomes : mapping of str to (Outcome, Atoms)
            By key.

        Raises
        ------
        DataError
            If it cannot be written, e.g. because the disk is full.
        """
        with self._store.transaction():
            self._replace_last()
            self._store.put_outcomes(
                [
                    (key, outcome.to_json(), pack_atoms(atoms))
                    for key, (outcome, atoms) in outcomes.items()
                ]
            )
            self._store.add_candidates(
                [
                    (e.id, e.key, e.outcome.to_json() if e.outcome else None)
                    for e in entries
                ],
                [dict(e.carried) for e in entries],
            )
            self._store.set_meta("in_flight", "[]")
        self._begun = None

    def rows(
        self, *, structures: bool = False, again: bool = False, carried: bool = False
    ) -> Iterator[JournalRow]:
        """Yield the candidates of the last screening, in the order of their source.

        Parameters
        ----------
        structures : bool, default False
            Whether to read the structures as well.
        again : bool, default False
            Those of the second stage instead, see :meth:`begin_again`; they have the
            ids that they have in the first one.
        carried : bool, default False
            Whether to read what else their source says of them.

        Yields
        ------
        JournalRow
        """
        first: dict[str, str] = {}
        others = self._store.carried() if carried else {}
        with errors(self.folder):
            n_rows, end, last = self._places(again)
            for place, name, key, failure, outcome, packed in self._store.candidates(
                "WHERE position > ? AND position <= ?", [n_rows, last]
            ):
                n_rows += 1
                if place != n_rows:
                    raise damaged(_MISSING, self.folder)
                earlier = "" if key is None else first.setdefault(key, name)
                yield JournalRow(
                    id=name,
                    outcome=Outcome.from_json(failure or outcome),
                    duplicate_of="" if earlier == name else earlier,
                    atoms=None
                    if packed is None or not structures
                    else unpack_atoms(packed),
                    carried=others.get(place, {}),
                )
            if end not in (None, n_rows):
                raise damaged(_MISSING, self.folder)

    def _places(self, again: bool) -> tuple[int, int | None, int]:
        """Return how many candidates are before a stage and, if known, up to its end.

        The last number is the place up to which to look for them: of the last stage,
        there must not be more than were written.
        """
        n_all = self._store.n_candidates()
        n_first = self._store.meta("n_first")
        if n_first is None:
            return (0, 0, 0) if again else (0, n_all, _NO_END)
        if again:
            return int(n_first), n_all, _NO_END
        return 0, int(n_first), int(n_first)

    def structures(self, numbers: Sequence[int]) -> list[Atoms]:
        """Return the structures of some candidates.

        Parameters
        ----------
        numbers : sequence of int
            Places in the order of :meth:`rows`, from 0.

        Returns
        -------
        list of Atoms
        """
        found = []
        with errors(self.folder):
            for number in numbers:
                (row,) = self._store.candidates("WHERE position = ?", [number + 1])
                found.append(unpack_atoms(row[-1]))
        return found
