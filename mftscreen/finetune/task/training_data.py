"""The data of a training, each row held once, and what each head sees of them."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from mftscreen.data.dataset import ENERGY_LABELS, LabelledStructure
from mftscreen.data.label_source import LabelSource
from mftscreen.data.sources import RowProblem, check_problems, read_labelled
from mftscreen.errors import DataError, StructureError
from mftscreen.finetune.config.blocks import DataConfig
from mftscreen.finetune.config.fields import Source
from mftscreen.finetune.task.partition import ID_TEST, divide, hold_out
from mftscreen.model.backbones.seam import EdgeCutoffs
from mftscreen.structures import (
    check_sites,
    check_structure,
    count_neighbors,
    find_separate_neighbors,
)

__all__ = [
    "Parts",
    "TrainingData",
    "are_new",
    "check_rows",
    "data_hash",
    "read_rows",
]

log = logging.getLogger(__name__)

Parts: TypeAlias = Mapping[str, Sequence[LabelledStructure]]
"""Rows by part: ``train``, ``validation`` and the names of tests."""

FITTED = ("train", "validation")
"""Parts that a run depends on; tests are for its card."""


@dataclass(frozen=True)
class TrainingData:
    """All rows and frames of a run.

    Attributes
    ----------
    rows : Parts
        Of the properties. A row has the label of at least one.
    properties : sequence of str
        Heads, of one property or of all components of one, each of which sees the rows
        that have a label of its name.
    frames : mapping of str to Parts
        By force-field head, which sees all of its own.
    fingerprints : mapping of str to str
        By head whose frames are drawn from files: of these files. Its `frames` are a
        sample.
    """

    rows: Parts = field(default_factory=dict)
    properties: Sequence[str] = ()
    frames: Mapping[str, Parts] = field(default_factory=dict)
    fingerprints: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def heads(self) -> dict[str, Parts]:
        """What each head sees: the rows and frames themselves, not copies."""
        seen: dict[str, Parts] = {
            name: {
                part: [row for row in rows if name in row.labels]
                for part, rows in self.rows.items()
            }
            for name in self.properties
        }
        return seen | dict(self.frames)

    @property
    def shared(self) -> list[list[str]]:
        """Properties with labels of the same training and validation rows, together."""
        rows = [row for part in FITTED for row in self.rows.get(part, ())]
        groups: dict[tuple[bool, ...], list[str]] = {}
        for name in self.properties:
            labelled = tuple(name in row.labels for row in rows)
            groups.setdefault(labelled, []).append(name)
        return list(groups.values())

    @property
    def hash(self) -> str:
        """Of what is trained on and validated with, head by head and in order."""
        digest = hashlib.sha256()
        for head, parts in self.heads.items():
            labels = ENERGY_LABELS if head in self.frames else (head,)
            for part in FITTED:
                found = data_hash(parts[part], labels)
                digest.update(f"{head} {part} {found}\n".encode())
            if head in self.fingerprints:
                digest.update(f"{head} {self.fingerprints[head]}\n".encode())
        return digest.hexdigest()

    @property
    def tests_hash(self) -> str:
        """Of what else the rows are, the tests, and their labels."""
        tests = {part: rows for part, rows in self.rows.items() if part not in FITTED}
        found = [f"{test} {data_hash(r, self.properties)}" for test, r in tests.items()]
        return hashlib.sha256("\n".join(found).encode()).hexdigest()

    def everything(self) -> Iterator[tuple[str, LabelledStructure]]:
        """Yield every row and frame with its part."""
        for parts in (self.rows, *self.frames.values()):
            for part, rows in parts.items():
                for row in rows:
                    yield part, row

    @property
    def new_rows(self) -> list[LabelledStructure]:
        """What is to be new to the model: all tests but in-distribution ones."""
        known = (*FITTED, ID_TEST)
        return [row for p, rows in self.rows.items() if p not in known for row in rows]

    def by_property(self, part: str) -> list[LabelledStructure]:
        """Return the rows of a part, those with a label of the first property first.

        Next are those of the second that are left, and so on.
        """
        place = {name: k for k, name in enumerate(self.properties)}
        return sorted(
            self.rows[part], key=lambda row: min(place[name] for name in row.labels)
        )


def are_new(
    rows: Sequence[LabelledStructure], trained_on: Sequence[LabelledStructure]
) -> NDArray[np.bool_]:
    """Return whether the structure of each row (n_rows,) is not among others."""
    known = {row.hash for row in trained_on}
    return np.array([row.hash not in known for row in rows], dtype=bool)


def data_hash(rows: Sequence[LabelledStructure], labels: Collection[str]) -> str:
    """Return a sha256 over structures and labels, in order.

    Parameters
    ----------
    rows : sequence of LabelledStructure
    labels : collection of str
        Names of those that count, which a row may lack.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for row in rows:
        digest.update(row.hash.encode())
        for name in sorted(row.labels.keys() & set(labels)):
            digest.update(f" {name} ".encode())
            digest.update(np.ascontiguousarray(row.labels[name], "<f8").tobytes())
    return digest.hexdigest()


def read_rows(
    data: DataConfig,
    sources: Sequence[LabelSource],
    seed: int,
    *,
    validates: bool = True,
) -> TrainingData:
    """Read the rows of the properties and divide them into parts.

    Parameters
    ----------
    data : DataConfig
    sources : sequence of LabelSource
        Where the labels of each property are.
    seed : int
        Of the rows that are held out, if the data do not say which.
    validates : bool, default True
        Whether rows are held out for validation; if not, they are training rows.

    Returns
    -------
    TrainingData
        Without frames. Structures that are in the training set and in a test are named
        in the log, and so are ids that several different structures have.

    Raises
    ------
    DataError
        If data cannot be read or divided, or a property has no training or no
        validation row.
    """

    def load(paths: Sequence[Source]) -> list[LabelledStructure]:
        return [row for path in paths for row in read_labelled(path, *sources)]

    rows = load(data.train)
    _warn_of_shared_ids(rows)
    parts = divide(rows, data.split) if data.split is not None else {"train": rows}
    if data.validation is not None:
        parts["validation"] = load(data.validation)
    elif "validation" not in parts and validates:
        fraction = data.validation_fraction
        parts |= hold_out(
            parts["train"], fraction, seed, lambda row: row.group or row.id
        )
    if not validates:
        parts["train"] = [*parts["train"], *parts.get("validation", ())]
        parts["validation"] = []
    parts |= {test: load([path]) for test, path in data.test.items()}
    _warn_of_overlaps(parts)
    found = TrainingData(parts, tuple(source.name for source in sources))
    for source in sources:
        name, column = source.name, ", ".join(source.columns)
        for part in FITTED if validates else FITTED[:1]:
            if not found.heads[name][part]:
                msg = f"no {part} row has a label {column!r} for {name!r}"
                if part == "validation":
                    msg += (
                        "; name rows that have one in data.validation"
                        if data.split is None
                        else f"; choose another fold than {data.split.fold!r}"
                    )
                raise DataError(msg)
    return found


def _warn_of_shared_ids(rows: Sequence[LabelledStructure]) -> None:
    structures: dict[str, set[str]] = {}
    for row in rows:
        structures.setdefault(row.id, set()).add(row.hash)
    shared = [
        f"{name} ({len(found)})" for name, found in structures.items() if len(found) > 1
    ]
    if shared:
        log.warning(
            "%d ids stand for several different structures each: %s. The structures "
            "of one id are held out together or not at all",
            len(shared),
            ", ".join(shared[:5]),
        )


def _warn_of_overlaps(parts: Parts) -> None:
    """Say which rows are judged by that have had a say."""
    names = {part: f"test {part!r}" for part in parts}
    names |= {"train": "the training set", "validation": "the validation set"}
    hashes = {part: {row.hash for row in parts[part]} for part in FITTED}
    tests = [part for part in parts if part not in FITTED]
    for part, other in (("validation", "train"), *product(tests, FITTED)):
        both = [row.id for row in parts[part] if row.hash in hashes[other]]
        if both:
            log.warning(
                "%d structures of %s are in %s, too: %s",
                len(both),
                names[part],
                names[other],
                ", ".join(both[:5]),
            )


def check_rows(
    data: TrainingData, type_map: Sequence[str], cutoffs: EdgeCutoffs
) -> tuple[int, int]:
    """Check all structures, and count the neighbours of those that are trained on.

    Each structure is searched for neighbours once, for both.

    Parameters
    ----------
    data : TrainingData
    type_map : sequence of str
        Chemical symbols that the model knows.
    cutoffs : EdgeCutoffs

    Returns
    -------
    tuple of int
        The most neighbours of any training or validation atom within the two cutoffs,
        at least 1.

    Raises
    ------
    DataError
        If there are structures that cannot be used; they are named.
    """
    most, problems = np.ones(2, dtype=int), []
    within = (cutoffs.edge, cutoffs.angle)
    for part, row in data.everything():
        try:
            if part in FITTED:
                check_sites(row.atoms, type_map)
                pairs = find_separate_neighbors(row.atoms, cutoffs.edge)
                most = np.maximum(most, count_neighbors(pairs, within))
            else:
                check_structure(row.atoms, type_map)
        except StructureError as error:
            problems.append(RowProblem(row.id, "structure", str(error)))
    check_problems(problems)
    return int(most[0]), int(most[1])
