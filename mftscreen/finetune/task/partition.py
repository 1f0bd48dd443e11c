"""The rows of a data set, divided by one fold of a split or by a hash of each."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from ase import Atoms

from mftscreen.data.dataset import LabelledStructure
from mftscreen.errors import DataError
from mftscreen.finetune.config.blocks import SplitConfig
from mftscreen.ood.splits import Fold, Split, draw_validation, structure_key
from mftscreen.structures import reduced_formula
from mftscreen.suggestions import did_you_mean

__all__ = [
    "ID_TEST",
    "OOD_TEST",
    "check_groups",
    "divide",
    "find_fold",
    "hold_out",
    "in_order",
    "place_of",
    "without_formulas_of",
]

ID_TEST, OOD_TEST = "id", "ood"
"""Names of the two tests, on cards and in tables."""
_ORDER = ("train", "validation", ID_TEST, OOD_TEST)
_NAMED = 5

log = logging.getLogger(__name__)


class Identified(Protocol):
    """A structure that has an id: a labelled one or a candidate."""

    @property
    def id(self) -> str: ...

    @property
    def atoms(self) -> Atoms | None: ...


_R = TypeVar("_R", bound=Identified)


def divide(rows: Sequence[_R], settings: SplitConfig) -> dict[str, list[_R]]:
    """Divide rows by a fold of a split file.

    Parameters
    ----------
    rows : sequence
        The rows that were split, in any order; each has an ``id``.
    settings : SplitConfig

    Returns
    -------
    dict of str to list
        ``train``, ``ood`` (the fold's test) and, unless they are empty, ``validation``
        and ``id``. A row of the split that is in no part of the fold is left out, and
        so are training and validation rows beyond the share that is to be used.

    Raises
    ------
    DataError
        If the file has no such fold, an id stands twice, a row is not in the split, a
        row of the split is missing, or one has the structure that another one had when
        they were split; ids are named.
    """
    split = Split.read(settings.file)
    fold = find_fold(split, settings.fold, settings.file)
    _check_rows(rows, split, settings.file)
    id_test = fold.id_test or _draw_id_test(fold, settings.id_share, split.seed or 0)
    part_of = dict.fromkeys(fold.train, "train")
    part_of |= dict.fromkeys(fold.val, "validation")
    part_of |= dict.fromkeys(id_test, ID_TEST)
    part_of |= dict.fromkeys(fold.test, OOD_TEST)
    parts: dict[str, list[_R]] = {}
    for row in rows:
        if row.id in part_of:
            parts.setdefault(part_of[row.id], []).append(row)
    if settings.train_share < 1:
        for part in ("train", "validation"):
            if part in parts:
                parts[part] = _draw(parts[part], settings)
    return parts


def check_groups(key: str, found: Sequence[bool]) -> None:
    """Raise unless some frames have the key that names their group.

    Parameters
    ----------
    key : str
    found : sequence of bool
        Whether each frame has it. If some have not, it is logged.

    Raises
    ------
    DataError
    """
    if not any(found):
        msg = f"group: no frame has {key!r}, which would keep frames on one side"
        raise DataError(msg)
    if lacking := len(found) - sum(found):
        log.warning(
            "group: %d of %d frames have no %r; each of these is a group of its own",
            lacking,
            len(found),
            key,
        )


def hold_out(
    rows: Sequence[LabelledStructure],
    fraction: float,
    seed: int,
    group_of: Callable[[LabelledStructure], str],
) -> dict[str, list[LabelledStructure]]:
    """Set about a fraction of all groups aside, by a hash of each with the seed.

    So a group stays on its side when others are added, and a training that goes on
    with more data does not train on what was held out. Where the fraction leaves a side
    empty, it has the nearest group, which may change when others are added.

    Parameters
    ----------
    rows : sequence of LabelledStructure
    fraction : float
        Between 0 and 1.
    seed : int
    group_of : callable
        Returns a row's group, which is not divided.

    Returns
    -------
    dict of str to list of LabelledStructure
        ``train`` and ``validation``, in the order of `rows`.

    Raises
    ------
    DataError
        If there are fewer than two groups.

    Notes
    -----
    Where a group is an id that several structures have, these stay together.
    """
    places = {g: place_of(g, seed) for g in {group_of(row) for row in rows}}
    if len(places) < 2:
        name = next(iter(places), "")
        msg = (
            f"all of {len(rows)} rows have the id or group {name!r}, and what shares "
            "one is not divided; give each structure an id of its own"
            if len(rows) > 1
            else f"{len(rows)} rows cannot be split; two are needed"
        )
        raise DataError(msg)
    n_below = sum(place < fraction for place in places.values())
    n_validation = min(max(n_below, 1), len(places) - 1)
    held_out = set(sorted(places, key=places.__getitem__)[:n_validation])
    parts: dict[str, list[LabelledStructure]] = {"train": [], "validation": []}
    for row in rows:
        parts["validation" if group_of(row) in held_out else "train"].append(row)
    return parts


def in_order(parts: Iterable[str]) -> list[str]:
    """Return the names of parts in the order in which they are shown.

    Parameters
    ----------
    parts : iterable of str

    Returns
    -------
    list of str
        Training, validation, ID and OOD test, and then all others as they were.

    Examples
    --------
    >>> in_order(["ood", "my test", "id", "validation"])
    ['validation', 'id', 'ood', 'my test']
    """
    places = {part: place for place, part in enumerate(_ORDER)}
    return sorted(parts, key=lambda part: places.get(part, len(places)))


def find_fold(split: Split, name: str, path: Path | None = None) -> Fold:
    """Return the fold of a name.

    Parameters
    ----------
    split : Split
    name : str
    path : Path, optional
        Where the split was read from; for the message.

    Raises
    ------
    DataError
        If there is none.
    """
    for fold in split.folds:
        if fold.name == name:
            return fold
    names = ", ".join(fold.name for fold in split.folds)
    msg = f"no fold {name!r}; the folds are {names}"
    msg += did_you_mean(name, known=[fold.name for fold in split.folds])
    raise DataError(msg, path=path)


def without_formulas_of(
    frames: Sequence[LabelledStructure], tests: Iterable[LabelledStructure]
) -> list[LabelledStructure]:
    """Return the frames whose reduced formula occurs in no test.

    Parameters
    ----------
    frames : sequence of LabelledStructure
        Of the auxiliary task, which must not see the compositions of a test.
    tests : iterable of LabelledStructure

    Returns
    -------
    list of LabelledStructure

    Raises
    ------
    DataError
        If none is left.

    Examples
    --------
    >>> from ase.build import bulk
    >>> frames = [LabelledStructure(s, bulk(s)) for s in ("Si", "Ge")]
    >>> tests = [LabelledStructure("test", bulk("Si", cubic=True))]
    >>> [frame.id for frame in without_formulas_of(frames, tests)]
    ['Ge']
    """
    tested = {reduced_formula(item.atoms) for item in tests}
    kept = [frame for frame in frames if reduced_formula(frame.atoms) not in tested]
    if not kept:
        msg = (
            f"drop_test_formulas: all of {len(frames)} auxiliary frames have the "
            "composition of a test structure"
        )
        raise DataError(msg)
    return kept


def place_of(group: str, seed: int) -> float:
    """Return a number between 0 and 1, evenly distributed over groups.

    Parameters
    ----------
    group : str
    seed : int
    """
    digest = hashlib.sha256(f"{seed} {group}".encode(errors="surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _draw(rows: Sequence[_R], settings: SplitConfig) -> list[_R]:
    """Return the share of rows that is used, in their order."""

    def place(row: _R) -> float:
        # other places than those by which rows are held out with the same seed
        return place_of(f"share {row.id}", settings.train_seed)

    n_used = max(1, round(settings.train_share * len(rows)))
    used = {row.id for row in sorted(rows, key=place)[:n_used]}
    return [row for row in rows if row.id in used]


def _draw_id_test(fold: Fold, share: float, seed: int) -> list[str]:
    drawn = draw_validation(range(len(fold.train)), share, seed)
    return [fold.train[row] for row in drawn]


def _check_rows(rows: Sequence[_R], split: Split, path: Path) -> None:
    ids = [row.id for row in rows]
    problems = {
        "stand more than once in the data": [
            name for name, count in Counter(ids).items() if count > 1
        ],
        "are not in the split": sorted(set(ids) - set(split.ids)),
        "are in the split, but not in the data": sorted(set(split.ids) - set(ids)),
        # an id may be no more than the place in a file, which has been sorted anew
        "have the structure that another row had when they were split": _moved(
            rows, split
        ),
    }
    for what, names in problems.items():
        if names:
            more = len(names) - _NAMED
            listed = ", ".join(names[:_NAMED]) + (f" and {more} more" * (more > 0))
            msg = f"{len(names)} row ids {what}: {listed}. Split these data anew"
            raise DataError(msg, path=path)


def _moved(rows: Sequence[_R], split: Split) -> list[str]:
    """Return the ids of rows that have changed places.

    A structure that no row had is allowed: one may have been relaxed, or rounded; and
    so is one that another row still has.
    """
    own = dict(zip(split.ids, split.structures, strict=False))
    known = set(split.structures)
    keys = {
        row.id: structure_key(row.atoms)
        for row in rows
        if row.id in own and row.atoms is not None
    }
    kept = {key for name, key in keys.items() if key == own[name]}
    moved = known - kept
    return [name for name, key in keys.items() if key != own[name] and key in moved]
