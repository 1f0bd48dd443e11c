"""Named folds of a data set, tied to its content by a hash."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from mftscreen.data.readers import DAMAGED, open_text
from mftscreen.errors import DataError
from mftscreen.ood.splits.split_rows import SplitData, check_unique
from mftscreen.writing import output_file

__all__ = ["Fold", "Split", "build_split", "draw_validation"]

_FORMAT = "mftscreen split 1"
_PARTS = ("train", "val", "test", "id_test")


@dataclass(frozen=True)
class Fold:
    """One division of the rows; no row is in two parts.

    Attributes
    ----------
    name : str
        What is left out: a cluster, an element, ...
    train, val, test : tuple of str
        Row ids. `test` is the out-of-distribution test where there are two.
    id_test : tuple of str
        The in-distribution test; empty for most methods.
    """

    name: str
    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]
    id_test: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for part in ("train", "test"):
            if not getattr(self, part):
                msg = f"fold {self.name} has no {part} rows"
                raise DataError(msg)
        rows = tuple(chain.from_iterable(getattr(self, part) for part in _PARTS))
        check_unique(rows, f"fold {self.name}: row")


@dataclass(frozen=True)
class Split:
    """Folds, how they were made, and of what data.

    Attributes
    ----------
    method : str
    parameters : mapping of str to JSON value
        Arguments of the method, defaults included.
    seed : int or None
    data_hash : str
        :attr:`SplitData.hash` of the rows that were split.
    ids : tuple of str
        All rows in their order. A row need not be in every fold.
    folds : tuple of Fold
    structures : tuple of str
        :attr:`SplitData.structure_keys` of these rows; empty in a file of an earlier
        version.

    Raises
    ------
    DataError
        If there are no folds, a name or an id stands twice, a fold holds a row that
        is not in `ids`, or there are other than as many structures.
    """

    method: str
    parameters: Mapping[str, Any]
    seed: int | None
    data_hash: str
    ids: tuple[str, ...]
    folds: tuple[Fold, ...]
    structures: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.structures) not in (0, len(self.ids)):
            msg = f"{len(self.ids)} ids and {len(self.structures)} structures"
            raise DataError(msg)
        if not self.folds:
            msg = f"{self.method} gives no folds"
            raise DataError(msg)
        check_unique(self.ids, "row id")
        check_unique([fold.name for fold in self.folds], "fold")
        known = set(self.ids)
        for fold in self.folds:
            for part in _PARTS:
                if unknown := set(getattr(fold, part)) - known:
                    msg = f"fold {fold.name}: no row has the id {min(unknown)!r}"
                    raise DataError(msg)

    def check_data(self, data: SplitData) -> None:
        """Raise unless `data` is what was split.

        Raises
        ------
        DataError
            If an id, a structure, a target or the order of the rows differs.
        """
        if data.hash == self.data_hash:
            return
        if tuple(data.ids) == self.ids:
            what = "the same ids, but other structures or targets"
        else:
            common = len(set(data.ids) & set(self.ids))
            what = (
                f"{len(data)} rows, the split {len(self.ids)}; they share {common} ids"
            )
        msg = (
            "the split was made of other data: these have "
            f"{what} (hash {data.hash[:12]}, the split's is {self.data_hash[:12]})"
        )
        raise DataError(msg)

    def to_json(self) -> str:
        """Return the split as JSON: ``ids``, and folds as row numbers into them."""
        number = {name: row for row, name in enumerate(self.ids)}
        folds = [
            {"name": fold.name}
            | {part: [number[row] for row in getattr(fold, part)] for part in _PARTS}
            for fold in self.folds
        ]
        document = {
            "format": _FORMAT,
            "method": self.method,
            "parameters": dict(self.parameters),
            "seed": self.seed,
            "data_hash": self.data_hash,
            "ids": list(self.ids),
            "structures": list(self.structures),
            "folds": folds,
        }
        return json.dumps(document, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Split:
        """Return the split that :meth:`to_json` wrote.

        Raises
        ------
        DataError
            If it is not such a document, or its folds are not valid.
        """
        try:
            document = json.loads(text)
            if document["format"] != _FORMAT:
                msg = f"expected {_FORMAT!r}, found {document['format']!r}"
                raise DataError(msg)
            ids = tuple(document["ids"])
            folds = tuple(
                Fold(
                    fold["name"],
                    *(_ids_of(fold[part], ids, fold["name"]) for part in _PARTS),
                )
                for fold in document["folds"]
            )
            return cls(
                document["method"],
                document["parameters"],
                document["seed"],
                document["data_hash"],
                ids,
                folds,
                tuple(document.get("structures", ())),
            )
        except json.JSONDecodeError as error:
            msg = f"not a split: {error}"
            raise DataError(msg) from error
        except (KeyError, TypeError) as error:
            msg = f"not a split: missing or misplaced {error}"
            raise DataError(msg) from error

    def write(self, path: Path) -> None:
        """Write the split as JSON; an existing file is replaced when all is written.

        Raises
        ------
        DataError
            If the file cannot be written.
        """
        with output_file(path) as partial:
            text = self.to_json() + "\n"
            # of what is no UTF-8 in an id, JSON has an escape of the same form
            partial.write_text(text, encoding="utf-8", errors="backslashreplace")

    @classmethod
    def read(cls, path: Path, data: SplitData | None = None) -> Split:
        """Return the split in a file, plain or compressed (``.gz``, ``.xz``).

        Parameters
        ----------
        path : Path
        data : SplitData, optional
            What the split is to be used with; it must be what was split.

        Raises
        ------
        DataError
            If the file cannot be read, is not a split, or is one of other data.
        """
        try:
            with open_text(path) as stream:
                text = stream.read()
            split = cls.from_json(text)
            if data is not None:
                split.check_data(data)
        except FileNotFoundError as error:
            msg = "no such file; 'mftscreen split DATA ... -o FILE' writes it"
            raise DataError(msg, path=path) from error
        except (*DAMAGED, DataError) as error:
            if isinstance(error, DataError) and error.path is not None:
                raise
            raise DataError(str(error), path=path) from error
        return split


def _ids_of(rows: Sequence[int], ids: Sequence[str], fold: str) -> tuple[str, ...]:
    for row in rows:
        if not (isinstance(row, int) and 0 <= row < len(ids)):
            msg = f"fold {fold}: no row number {row}; there are {len(ids)} rows"
            raise DataError(msg)
    return tuple(ids[row] for row in rows)


def draw_validation(rows: Sequence[int], share: float, seed: int) -> list[int]:
    """Draw the validation rows of a fold.

    Parameters
    ----------
    rows : sequence of int
        The rows that are not tested.
    share : float
        Of them, in [0, 1).
    seed : int

    Returns
    -------
    list of int
        All but the first ``int((1 - share) * len(rows))`` after a shuffle.

    Raises
    ------
    DataError
        If `share` is out of range.

    Notes
    -----
    Rows are sorted as text and shuffled by :class:`random.Random`. With `share` 0.2 and
    seed 123 this gives the validation rows, in order, of all 750 published folds of
    Omee et al., npj Comput. Mater. 10, 144 (2024), doi:10.1038/s41524-024-01316-4.

    Examples
    --------
    >>> draw_validation(range(10), 0.2, seed=123)
    [4, 0]
    """
    if not 0.0 <= share < 1.0:
        msg = f"the validation share must be in [0, 1), got {share}"
        raise DataError(msg)
    order = sorted(rows, key=str)
    random.Random(seed).shuffle(order)
    return order[int((1.0 - share) * len(order)) :]


def build_split(
    data: SplitData,
    method: str,
    parameters: Mapping[str, Any],
    tests: Mapping[str, Sequence[int]],
    *,
    seed: int,
    id_tests: Mapping[str, Sequence[int]] | None = None,
) -> Split:
    """Return the split with the given test rows; the others train or validate.

    Parameters
    ----------
    data : SplitData
    method : str
    parameters : mapping of str to JSON value
        With ``val_share``, the share of the other rows that validates.
    tests : mapping of str to sequence of int
        Test rows of each fold.
    seed : int
        Of :func:`draw_validation`.
    id_tests : mapping of str to sequence of int, optional
        In-distribution test rows of each fold.

    Returns
    -------
    Split

    Raises
    ------
    DataError
        If a fold has no test or no training rows.
    """

    def names(rows: Sequence[int]) -> tuple[str, ...]:
        return tuple(data.ids[row] for row in rows)

    folds = []
    for name, test in tests.items():
        id_test = (id_tests or {}).get(name, ())
        tested = {*test, *id_test}
        rest = [row for row in range(len(data)) if row not in tested]
        val = draw_validation(rest, parameters["val_share"], seed)
        held = set(val)
        train = [row for row in rest if row not in held]
        folds.append(Fold(name, names(train), names(val), names(test), names(id_test)))
    return Split(
        method=method,
        parameters=parameters,
        seed=seed,
        data_hash=data.hash,
        ids=tuple(data.ids),
        folds=tuple(folds),
        structures=data.structure_keys,
    )
