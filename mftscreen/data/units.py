"""Factors between units, by which labels of two sources may differ unnoticed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from math import log

import numpy as np
from ase import units

__all__ = ["match_factor", "mixed_units", "same_distribution_factor"]

_SIZES = (
    {
        "eV": 1.0,
        "meV": 1e-3,
        "Ha": units.Hartree,
        "Ry": units.Rydberg,
        "kJ/mol": units.kJ / units.mol,
        "kcal/mol": units.kcal / units.mol,
        "cm-1": units.invcm,
    },
    {"GPa": units.GPa, "kbar": 0.1 * units.GPa, "MPa": 1e-3 * units.GPa, "eV/Å^3": 1.0},
    {"Å": 1.0, "bohr": units.Bohr, "nm": 10.0, "pm": 0.01},
    {"D": units.Debye, "e Å": 1.0, "e bohr": units.Bohr},
)
"""Units of energy, pressure, length and dipole moment, as ASE has them (CODATA)."""

_N_LEAST = 20
_LEAST_FACTOR = 3.0
_CLOSE = log(1.2)


def _factors(unit: str | None) -> dict[str, float]:
    """Return what a number in one unit is multiplied by for another."""
    found = {
        f"{one} to {other}": sizes[one] / sizes[other]
        for sizes in _SIZES
        for one, other in permutations(sizes, 2)
    }
    starting = {k: v for k, v in found.items() if k.startswith(f"{unit} to ")}
    return starting or found


def match_factor(
    ratio: float, unit: str | None = None, tolerance: float = 1e-3
) -> str | None:
    """Return which change of units a ratio of two labels looks like.

    Parameters
    ----------
    ratio : float
    unit : str, optional
        What the first label is in; if known here, only changes from it are considered.
    tolerance : float
        Relative.

    Returns
    -------
    str or None

    Examples
    --------
    >>> match_factor(27.2114, tolerance=1e-4)
    'Ha to eV'
    >>> match_factor(1000.0, unit="eV")
    'eV to meV'
    >>> match_factor(3.7) is None
    True
    """
    if not ratio > 0.0:
        return None
    factors = _factors(unit)
    name = min(factors, key=lambda k: abs(log(ratio / factors[k])))
    return name if abs(log(ratio / factors[name])) <= tolerance else None


def same_distribution_factor(
    first: Sequence[float], second: Sequence[float], unit: str | None = None
) -> str | None:
    """Return which change of units makes two sets of labels alike, if one does.

    Parameters
    ----------
    first, second : sequence of float
        Labels of two sets of structures.
    unit : str, optional
        See :func:`match_factor`.

    Returns
    -------
    str or None
        None also for fewer than 20 labels that are not zero.

    Notes
    -----
    The ratio of the medians of the absolute labels and that of the interquartile
    ranges must both be within 20 % of one factor between units, and this must be larger
    than 3 or smaller than 1/3. Labels of zero, as metals have for a gap, tell no unit
    and are left out. A change of units under a logarithm shifts labels and is
    not found.

    Examples
    --------
    >>> labels = [1.0 + 0.1 * k for k in range(30)]
    >>> same_distribution_factor(labels, [1000 * x for x in labels], unit="eV")
    'eV to meV'
    >>> same_distribution_factor(labels, [x + 1.0 for x in labels]) is None
    True
    """
    one, other = ([value for value in values if value] for values in (first, second))
    if min(len(one), len(other)) < _N_LEAST:
        return None
    (median_1, range_1), (median_2, range_2) = map(_scale, (one, other))
    if not min(median_1, median_2, range_1, range_2) > 0.0:
        return None
    center, spread = log(median_2 / median_1), log(range_2 / range_1)
    off = {
        name: max(abs(center - log(factor)), abs(spread - log(factor)))
        for name, factor in _factors(unit).items()
        if abs(log(factor)) > log(_LEAST_FACTOR)
    }
    best = min(off, key=lambda name: off[name])
    return best if off[best] < _CLOSE else None


def mixed_units(
    labels: Sequence[float], unit: str | None = None
) -> tuple[float, str] | None:
    """Return where labels fall apart into two units, if they do.

    Parameters
    ----------
    labels : sequence of float
    unit : str, optional
        See :func:`match_factor`.

    Returns
    -------
    threshold : float
        Smallest absolute label of the larger ones.
    change : str
        From the smaller to the larger ones.

    Notes
    -----
    The sorted absolute labels, less those of zero, are cut where one is the largest
    multiple of the one before it, at least 20 from either end. The parts must be three
    times apart there and differ as two units do (:func:`same_distribution_factor`).

    Examples
    --------
    >>> labels = [1.0 + 0.1 * k for k in range(30)]
    >>> mixed_units([*labels, *(1000 * x for x in labels)], unit="eV")
    (1000.0, 'eV to meV')
    """
    sizes = np.sort(np.abs([label for label in labels if label]))
    inner = sizes[_N_LEAST - 1 : len(sizes) - _N_LEAST + 1]
    if len(inner) < 2:
        return None
    ratios = inner[1:] / inner[:-1]
    cut = int(np.argmax(ratios))
    if ratios[cut] < _LEAST_FACTOR:
        return None
    low, high = sizes[: _N_LEAST + cut], sizes[_N_LEAST + cut :]
    change = same_distribution_factor(low.tolist(), high.tolist(), unit)
    return (float(high[0]), change) if change else None


def _scale(values: Sequence[float]) -> tuple[float, float]:
    low, high = np.quantile(values, [0.25, 0.75])
    return float(np.median(np.abs(values))), float(high - low)
