"""Which candidates are worth an evaluation, by their elements."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ase.data import chemical_symbols

from mftscreen.errors import ConfigError, StructureError

__all__ = ["ElementFilter", "FilteredError"]

_SYMBOLS = frozenset(chemical_symbols[1:])  # the first is ASE's placeholder X


class FilteredError(StructureError):
    """A structure was refused by an :class:`ElementFilter`.

    Cause: it holds more elements than ``--max-elements`` allows, or one of
    ``--exclude-elements``.

    Remedy: none is needed; the row stays in the table without a value. Loosen the
    filter to evaluate it.

    Parameters
    ----------
    reason : str
    formula : str
        Of the structure.
    """

    status = "filtered"

    def __init__(self, reason: str, formula: str) -> None:
        super().__init__(reason)
        self.formula = formula


@dataclass(frozen=True)
class ElementFilter:
    """A limit on the number of elements, and elements that are unwanted.

    Attributes
    ----------
    max_elements : int or None
        At most this many different elements; None for any number.
    exclude : frozenset of str
        Chemical symbols.

    Raises
    ------
    ConfigError
        If the limit is not positive or a symbol is unknown.
    """

    max_elements: int | None = None
    exclude: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        problems = []
        if self.max_elements is not None and self.max_elements < 1:
            problems.append(f"max_elements: {self.max_elements} is not at least 1")
        for symbol in sorted(self.exclude - _SYMBOLS):
            proper = symbol.capitalize()
            hint = f"; did you mean {proper}?" if proper in _SYMBOLS else ""
            problems.append(f"exclude: {symbol!r} is not a chemical symbol{hint}")
        if problems:
            raise ConfigError(problems)

    def reason(self, symbols: Iterable[str]) -> str | None:
        """Return why a structure is left out; None if it is not.

        Parameters
        ----------
        symbols : iterable of str
            The chemical symbol of every atom, such as ``atoms.symbols``.

        Examples
        --------
        >>> unwanted = ElementFilter(max_elements=2, exclude=frozenset({"Cd", "Pb"}))
        >>> unwanted.reason(["Ga", "As"])
        >>> unwanted.reason(["Pb", "Ti", "O", "O", "O"])
        'excluded elements: Pb; 3 elements, at most 2 are allowed'
        """
        elements = set(symbols)
        reasons = []
        if unwanted := sorted(elements & self.exclude):
            reasons.append(f"excluded elements: {', '.join(unwanted)}")
        if self.max_elements is not None and len(elements) > self.max_elements:
            reasons.append(
                f"{len(elements)} elements, at most {self.max_elements} are allowed"
            )
        return "; ".join(reasons) or None
