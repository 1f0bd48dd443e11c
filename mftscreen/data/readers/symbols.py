"""What files say of the species on a site."""

from __future__ import annotations

import re

from ase.data import atomic_numbers

from mftscreen.errors import StructureError

__all__ = ["FULL", "element", "label_element", "reason"]

FULL = 1e-3
"""An occupancy closer to 1 than this is 1: files round."""

_SPECIES = re.compile(
    r"""([A-Za-z]{1,2})
    # a charge, a number, a name of a potential
    (?: \d*\.?\d*[+-]+\d*\.?\d* | \d+ | _\w+ )?
    (?: ,\s*spin=.* )?""",
    re.VERBOSE,
)
_ELEMENTS = {symbol for symbol, number in atomic_numbers.items() if number > 0}
_DUMMIES = {"x", "xx", "q", "du", "dum", "va", "vac", "vacancy", "lp", "m"}


def element(text: str) -> str:
    """Return the chemical symbol of a species.

    Parameters
    ----------
    text : str
        A symbol in any case, perhaps with a charge, also a mean one, or a number behind
        it. ``D`` is hydrogen.

    Returns
    -------
    str

    Raises
    ------
    StructureError
        If it is no element, or not clearly one.

    Examples
    --------
    >>> [element(text) for text in ("Mg2+", "O2-", "mg", "D", "Fe1", "Ti_sv")]
    ['Mg', 'O', 'Mg', 'H', 'Fe', 'Ti']
    >>> element("Va")
    Traceback (most recent call last):
    ...
    mftscreen.errors.StructureError: 'Va' is a dummy atom or a vacancy, no element
    """
    stripped = text.strip()
    match = _SPECIES.fullmatch(stripped)
    symbol = match[1].capitalize() if match else ""
    if symbol == "D":
        return "H"
    if symbol in _ELEMENTS:
        return symbol
    if symbol == "T":
        what = "not clear: tritium (write H) or a tetrahedral site"
    elif stripped.rstrip("0123456789").lower() in _DUMMIES:
        what = "a dummy atom or a vacancy, no element"
    else:
        what = "no chemical symbol"
    msg = f"{text!r} is {what}"
    raise StructureError(msg)


def label_element(label: str, expected: set[str]) -> str:
    """Return the chemical symbol that the label of a site begins with.

    Parameters
    ----------
    label : str
        E.g. ``Fe1A`` or ``O12``.
    expected : set of str
        Elements that a formula names; they decide where capitals leave it open whether
        ``CA1`` is calcium. May be empty.

    Returns
    -------
    str

    Raises
    ------
    StructureError
        If it begins with no element, or with one of two.

    Examples
    --------
    >>> label_element("Fe1A", set()), label_element("CA1", {"Ca", "F"})
    ('Fe', 'Ca')
    """
    letters = re.match(r"[A-Za-z]*", label)
    start = letters[0] if letters else ""
    # three letters are a word, such as Wat
    if len(start) < 2 or start.lower() in _DUMMIES or start[2:3].islower():
        return element(start or label)
    found = [s for s in (start[:2].capitalize(), start[0].upper()) if s in _ELEMENTS]
    if len(found) == 2:
        if start[1].islower():
            return found[0]
        found = [s for s in found if s in expected] or found
    if len(found) != 1:
        if not found:
            return element(label)
        msg = f"the label {label!r} may begin with {' or '.join(found)}"
        raise StructureError(msg)
    return found[0]


def reason(error: BaseException) -> str:
    """Return why ASE or a format's own reader failed, in words.

    Examples
    --------
    >>> reason(KeyError("Qq"))
    "'Qq' is missing or unknown"
    """
    if isinstance(error, KeyError) and error.args:
        return f"{error.args[0]!r} is missing or unknown"
    if isinstance(error, IndexError):
        return "it is shorter than its format asks for"
    return str(error) or f"not what the format allows ({type(error).__name__})"
