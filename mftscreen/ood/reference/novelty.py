"""What is new about a structure, and the one rule that flags it.

A comparison with a reference set gives facts (:class:`Novelty`), which do not depend on
how strictly they are judged; :func:`flag` makes the verdict.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mftscreen.trust.conformal import is_significant

__all__ = ["LOW_DIMENSIONAL", "Novelty", "Verdict", "flag", "merge", "usable_p_values"]

NAMED_PAIRS = 3
"""Unseen orbital pairs that a reason lists; a new element alone makes dozens."""

SECOND = 0.2
"""Of the significance level is for the descriptor's p-value where there is one of the
OFM, so that both together flag little more of what is like the training set."""

UNLIKE = "descriptor unlike those of the training set"

LOW_DIMENSIONAL = "low-dimensional: the OFM depends on the vacuum"


@dataclass(frozen=True)
class Novelty:
    """How a structure compares with a reference set.

    Attributes
    ----------
    status : str
        ``ok``, or why there is no orbital field matrix (OFM).
    p_value : float or None
        Share of the reference set that lies at least as far from the rest of the
        reference set as the structure does. None without an OFM.
    far : str
        How far it is from the reference set and whether the volume makes it so; what
        there is to say of a low p-value where nothing is new. Empty without an OFM.
    nearest : tuple of str
        Ids of the nearest reference structures, nearest first.
    nearest_rows : tuple of int
        Their places in the reference set; ids may repeat.
    distances : tuple of float
        How far they are, in 1/Bohr.
    unseen_elements : tuple of str
        Elements that the reference set lacks, in alphabetical order.
    unseen_pairs : tuple of str
        Orbital pairs that meet nowhere in the reference set, the strongest first, as
        :func:`mftscreen.ood.ofm.orbitals.name_pair` names them. Of a pair and its
        mirror image, the stronger one.
    doubts : tuple of str
        What else the model has never seen the like of
        (:meth:`mftscreen.domain.HeadDomain.doubts`).
    descriptor_p_value : float or None
        Share of the rows held out in training whose descriptor lies at least as far
        from those of the training rows. None if that is not known.
    no_ofm : str
        Why there is no OFM; empty if there is one, or none to compare it with.
    unreadable : str
        Why there is no structure; empty if there is one.
    low_dimensional : bool or None
        As :attr:`mftscreen.ood.ofm.featurizer.OFMRow.low_dimensional`.
    features : ndarray of shape (1025,) or None
        As :attr:`mftscreen.ood.ofm.featurizer.OFMRow.features`.
    """

    status: str = "ok"
    p_value: float | None = None
    far: str = ""
    nearest: tuple[str, ...] = ()
    nearest_rows: tuple[int, ...] = ()
    distances: tuple[float, ...] = ()
    unseen_elements: tuple[str, ...] = ()
    unseen_pairs: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    descriptor_p_value: float | None = None
    no_ofm: str = ""
    unreadable: str = ""
    low_dimensional: bool | None = None
    features: NDArray[np.float64] | None = field(
        default=None, repr=False, compare=False
    )


class Verdict(NamedTuple):
    """Whether a structure is out of distribution.

    Attributes
    ----------
    ood : bool or None
        None if nothing can be said.
    reason : str
        What makes it so, or what to know about its p-value.
    """

    ood: bool | None
    reason: str


def flag(facts: Novelty, alpha: float) -> Verdict:
    """Decide whether a structure is out of distribution, and say why.

    Parameters
    ----------
    facts : Novelty
    alpha : float
        Significance level: p-values up to this are flagged. With 0, only what is
        flagged whatever its p-value.

    Returns
    -------
    Verdict
        Out of distribution is a structure with a low p-value, with an element that the
        reference set lacks (elements of one column of the periodic table often have
        the same OFM), with anything else that the model has never seen the like of, or
        without an OFM where the reference set has some: then nothing says that it is
        like them. So is one whose descriptor lies far from those of the training rows;
        the level of that is a fifth of `alpha`, or `alpha` where there is no OFM to go
        by.

    Examples
    --------
    >>> flag(Novelty(p_value=0.01, unseen_pairs=("Cu d10 – O p4",)), alpha=0.05)
    Verdict(ood=True, reason='orbital pairs never seen: Cu d10 – O p4')
    >>> flag(Novelty(p_value=0.5, unseen_elements=("W",)), alpha=0.05)
    Verdict(ood=True, reason='elements never seen: W')
    >>> flag(Novelty(p_value=0.01, far="2.08 / Bohr from mp-1"), alpha=0.05)
    Verdict(ood=True, reason='2.08 / Bohr from mp-1')
    >>> flag(Novelty(), alpha=0.05)
    Verdict(ood=None, reason='')
    """
    if facts.unreadable:
        return Verdict(None, facts.unreadable)
    new = bool(facts.unseen_elements or facts.doubts or facts.no_ofm)
    far = facts.p_value is not None and bool(is_significant(facts.p_value, alpha))
    unlike = _is_unlike(facts, alpha)
    ood: bool | None = new or far or unlike
    if not ood and facts.p_value is None and facts.descriptor_p_value is None:
        ood = None
    elements = facts.unseen_elements
    reasons = [_list("elements never seen", elements, len(elements)), *facts.doubts]
    if ood:
        pairs = _list("orbital pairs never seen", facts.unseen_pairs, NAMED_PAIRS)
        reasons.append(pairs)
        if far and not any(reasons):
            reasons.append(facts.far)
    if unlike:
        reasons.append(UNLIKE)
    if facts.no_ofm:
        reasons.append(f"no OFM: {facts.no_ofm}")
    if facts.low_dimensional:
        reasons.append(LOW_DIMENSIONAL)
    return Verdict(ood, "; ".join(filter(None, reasons)))


def merge(found: Sequence[Novelty]) -> Novelty:
    """Return what a structure is like that was compared with several reference sets.

    Parameters
    ----------
    found : sequence of Novelty
        Of one structure: a comparison with each set.

    Returns
    -------
    Novelty
        The comparison with the set that it is furthest from (smallest p-value; of
        equal ones, the first), and what any of the sets lacks. The descriptor's p-value
        of a set without an OFM, which is held to the whole level, is scaled to that
        of the others. Hence what one of the sets flags is flagged. Without a set,
        nothing is known.

    Examples
    --------
    >>> near = Novelty(p_value=0.8, unseen_elements=("W",), far="0.1 / Bohr")
    >>> far = Novelty(p_value=0.3, unseen_elements=("K",), far="2 / Bohr")
    >>> both = merge([near, far])
    >>> both.p_value, both.far, both.unseen_elements
    (0.3, '2 / Bohr', ('K', 'W'))
    """
    if not found:
        return Novelty()
    elements = chain.from_iterable(each.unseen_elements for each in found)
    pairs = chain.from_iterable(each.unseen_pairs for each in found)
    doubts = chain.from_iterable(each.doubts for each in found)
    vacuum = [v for each in found if (v := each.low_dimensional) is not None]
    return replace(
        min(found, key=_nearness),
        unseen_elements=tuple(sorted(set(elements))),
        unseen_pairs=tuple(dict.fromkeys(pairs)),
        doubts=tuple(dict.fromkeys(doubts)),
        descriptor_p_value=_least_of_descriptors(found),
        no_ofm=next((each.no_ofm for each in found if each.no_ofm), ""),
        low_dimensional=any(vacuum) if vacuum else None,
    )


def usable_p_values(compared: Iterable[Novelty]) -> NDArray[np.float64]:
    """Return OOD p-values, NaN where a p-value is not enough to go by.

    Parameters
    ----------
    compared : iterable of Novelty

    Returns
    -------
    ndarray of shape (n_structures,)
        NaN for a structure that is flagged whatever its p-value, or has none.
    """
    return np.array(
        [
            np.nan
            if each.p_value is None or flag(each, alpha=0.0).ood
            else each.p_value
            for each in compared
        ],
        dtype=np.float64,
    )


def _least_of_descriptors(found: Sequence[Novelty]) -> float | None:
    has_ofm = any(each.p_value is not None for each in found)
    p_values = [
        p * (SECOND if has_ofm and each.p_value is None else 1.0)
        for each in found
        if (p := each.descriptor_p_value) is not None
    ]
    return min(p_values, default=None)


def _is_unlike(facts: Novelty, alpha: float) -> bool:
    if facts.descriptor_p_value is None:
        return False
    level = alpha if facts.p_value is None else SECOND * alpha
    return bool(is_significant(facts.descriptor_p_value, level))


def _nearness(facts: Novelty) -> tuple[float, bool]:
    """Return what is least for the set that has most to say of how far it is."""
    p_value = float("inf") if facts.p_value is None else facts.p_value
    return p_value, not facts.no_ofm


def _list(what: str, names: Sequence[str], limit: int) -> str:
    if not names:
        return ""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return f"{what}: {', '.join(names[:limit])}{more}"
