"""Where the labels of a property stand in rows, and what they have to be."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from reprlib import repr as shortened
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mftscreen.transforms import LARGEST_LABEL

__all__ = ["LabelFault", "LabelSource"]

FaultKind = Literal["missing", "not finite", "not a number", "out of scale"]


@dataclass(frozen=True)
class LabelFault:
    """Why a row has no label.

    Attributes
    ----------
    kind : {"missing", "not finite", "not a number", "out of scale"}
    message : str
    lacking : bool
        Whether it just has none, as a row with other labels may.
    """

    kind: FaultKind
    message: str
    lacking: bool = False


@dataclass(frozen=True)
class LabelSource:
    """Where the labels of a property stand in rows, and what they are.

    Attributes
    ----------
    name : str
        Of the property.
    columns : tuple of str
        One; or one for each number, if there are several.
    size : int, optional
        How many numbers a label is a list of; None for a single number.
    yes_no : bool, default False
        Whether it is a truth value: true or false, yes or no, 1 or 0.

    Examples
    --------
    >>> source = LabelSource("moduli", ("K", "G"), size=2)
    >>> source.read({"K": 120.0, "G": "45"})
    array([120.,  45.])
    >>> source.read({"K": 120.0}).message
    "no number in 'G' (found None), and there is one in 'K'"
    >>> LabelSource("moduli", ("moduli",), size=2).read({"moduli": "[120, 45]"})
    array([120.,  45.])
    """

    name: str
    columns: tuple[str, ...]
    size: int | None = None
    yes_no: bool = False

    @classmethod
    def of(cls, source: str | LabelSource) -> LabelSource:
        """Return a source; a text is the name of a column of numbers."""
        return source if isinstance(source, LabelSource) else cls(source, (source,))

    def read(self, values: Mapping[str, Any]) -> NDArray[np.float64] | LabelFault:
        """Return the label of a row.

        Parameters
        ----------
        values : mapping of str to object

        Returns
        -------
        ndarray of shape () or (size,), or LabelFault
        """
        if self.yes_no:
            return _read_truth(self.columns[0], values.get(self.columns[0]))
        if self.size is None:
            return _read_number(self.columns[0], values.get(self.columns[0]))
        if len(self.columns) > 1:
            return self._read_columns([values.get(c) for c in self.columns])
        return self._read_list(self.columns[0], values.get(self.columns[0]))

    def _read_columns(self, found: Sequence[Any]) -> NDArray[np.float64] | LabelFault:
        cells = list(map(_read_number, self.columns, found))
        faults = [cell for cell in cells if isinstance(cell, LabelFault)]
        if not faults:
            return np.array(cells, dtype=np.float64)
        worst = next((fault for fault in faults if not fault.lacking), None)
        if worst is not None or len(faults) == len(cells):
            return worst or faults[0]
        there, lacking = (
            [
                (c, value)
                for c, value, cell in zip(self.columns, found, cells, strict=True)
                if isinstance(cell, LabelFault) == faulty
            ]
            for faulty in (False, True)
        )
        message = (
            f"no number in {lacking[0][0]!r} (found {shortened(lacking[0][1])}), and "
            f"there is one in {there[0][0]!r}"
        )
        return LabelFault("missing", message)

    def _read_list(self, column: str, value: Any) -> NDArray[np.float64] | LabelFault:
        numbers = _numbers(value)
        if numbers is None or len(numbers) == 1:
            fault = _read_number(column, value)
            if isinstance(fault, LabelFault):
                return fault
            numbers = np.atleast_1d(fault)
        if len(numbers) != self.size:
            n = len(numbers)
            message = (
                f"{n} number{'' if n == 1 else 's'} in {column!r}, not {self.size}"
            )
            return LabelFault("not a number", message)
        if np.isfinite(numbers).all():
            return _within(column, value, numbers)
        message = f"no finite label {column!r} (found {shortened(value)})"
        return LabelFault("not finite", message, bool(np.isnan(numbers).all()))


_TRUTH = {
    **dict.fromkeys(("true", "yes", "1", "1.0"), 1.0),
    **dict.fromkeys(("false", "no", "0", "0.0"), 0.0),
}


def _read_truth(column: str, value: Any) -> NDArray[np.float64] | LabelFault:
    wrapped = isinstance(value, np.ndarray | np.generic) and value.size == 1
    found = value.item() if wrapped else value
    known = _TRUTH.get(str(found).strip().lower())
    if known is not None:
        return np.asarray(known)
    if found is None or (isinstance(found, str) and not found.strip()):
        message = f"no label {column!r} (found {shortened(found)})"
        return LabelFault("missing", message, lacking=True)
    if str(found).strip().lower() == "nan":  # in a text, too, as of numbers
        message = f"no label {column!r} (found {shortened(found)})"
        return LabelFault("not finite", message, lacking=True)
    message = (
        f"the label {column!r} is {shortened(found)}; true or false, yes or no, 1 or 0 "
        "is expected"
    )
    return LabelFault("not a number", message)


def _read_number(column: str, value: Any) -> NDArray[np.float64] | LabelFault:
    number = _number(value)
    if number is not None and np.isfinite(number):
        return _within(column, value, np.asarray(number))
    message = f"no finite label {column!r} (found {shortened(value)})"
    if value is None or (isinstance(value, str) and not value.strip()):
        return LabelFault("missing", message, lacking=True)
    if number is None:
        if str(value).strip().lower() in _TRUTH:
            message += "; labels of yes or no are for 'kind: class', or written 1 and 0"
        return LabelFault("not a number", message)
    return LabelFault("not finite", message, lacking=bool(np.isnan(number)))


def _within(
    column: str, value: Any, numbers: NDArray[np.float64]
) -> NDArray[np.float64] | LabelFault:
    if (np.abs(numbers) <= LARGEST_LABEL).all():
        return numbers
    message = (
        f"the label {column!r} is {shortened(value)}, beyond {LARGEST_LABEL:g}; "
        "use a larger unit"
    )
    return LabelFault("out of scale", message)


def _number(value: Any) -> float | None:
    """Return a single number, however it is wrapped; a truth value is none."""
    numbers = _array(value)
    return None if numbers is None or numbers.size != 1 else float(numbers.item())


def _numbers(value: Any) -> NDArray[np.float64] | None:
    """Return a list of numbers, which may be written in a text."""
    if isinstance(value, str):
        value = re.split(r"[\s,;]+", value.strip().strip("[](){}").strip(" ,;"))
    numbers = _array(value)
    return None if numbers is None else numbers.ravel()


def _array(value: Any) -> NDArray[np.float64] | None:
    if value is None:
        return None
    try:
        given = np.asarray(value)
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        return None
    truth = given.dtype == bool or any(
        isinstance(each, bool | np.bool_) for each in given.ravel()[:1].tolist()
    )
    return None if truth else array
