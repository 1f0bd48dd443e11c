"""Candidates of a database, streamed: id, structure, source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ase import Atoms

from mftscreen.errors import DataError, MftscreenError
from mftscreen.readers import candidate_id, iter_ase_db, iter_extxyz, iter_matbench

__all__ = ["Candidate", "iter_candidates"]


@dataclass(frozen=True)
class Candidate:
    """One structure of a database.

    Attributes
    ----------
    id : str
        The row id of an ase.db; in extxyz the first of the ``info`` keys ``id``,
        ``name``, ``material_id``, ``mp_id``, else ``file#index``; in a MatBench file
        ``mb-<task>-<number>``.
    structure : Atoms or MftscreenError
        The error if the row could not be read.
    """

    id: str
    structure: Atoms | MftscreenError

    @property
    def atoms(self) -> Atoms | None:
        """The structure; None if the row could not be read."""
        return self.structure if isinstance(self.structure, Atoms) else None


def iter_candidates(path: Path, query: str | None = None) -> Iterator[Candidate]:
    """Yield the candidates of a database.

    Parameters
    ----------
    path : Path
        ``.db`` (ase.db), ``.extxyz``/``.xyz`` (also ``.gz``, ``.xz``) or a MatBench
        ``.json.gz``, which is read as a whole.
    query : str, optional
        ASE's query string; only for an ase.db.

    Yields
    ------
    Candidate

    Raises
    ------
    DataError
        If the format is unknown, the file cannot be read, or a query is given for a
        format that has none.
    """
    plain = path.name.removesuffix(".gz").removesuffix(".xz")
    if path.suffix == ".db":
        yield from _from_ase_db(path, query)
        return
    if query is not None:
        msg = f"a query ({query!r}) needs an ase.db"
        raise DataError(msg, path=path)
    if plain.endswith((".extxyz", ".xyz")):
        yield from _from_extxyz(path)
    elif path.name.endswith((".json", ".json.gz")):
        for name, structure, _ in iter_matbench(path):
            yield Candidate(name, structure)
    else:
        msg = (
            "unknown format; expected .db, .extxyz or .xyz (also .gz, .xz), "
            "or a MatBench .json.gz"
        )
        raise DataError(msg, path=path)


def _from_ase_db(path: Path, query: str | None) -> Iterator[Candidate]:
    for number, row in iter_ase_db(path, query):
        structure: Atoms | MftscreenError
        try:
            structure = row if isinstance(row, DataError) else row.toatoms()
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            reason = f"row {number} holds no valid structure: {error}"
            structure = DataError(reason, path=path)
        yield Candidate(str(number), structure)


def _from_extxyz(path: Path) -> Iterator[Candidate]:
    for number, frame in enumerate(iter_extxyz(path)):
        if isinstance(frame, Atoms):
            yield Candidate(candidate_id(frame, path, number), frame)
        else:
            yield Candidate(f"{path.name}#{number}", frame)
