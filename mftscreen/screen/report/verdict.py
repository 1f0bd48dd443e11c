"""One sentence on what has come out of a screening, and what to think of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["N_BEST", "say_verdict"]

N_BEST = 20
"""How many of the first ranks are looked at."""


def say_verdict(records: Sequence[Mapping[str, Any]]) -> str:
    """Return a sentence on how many candidates have a value, and how many a poor one.

    Parameters
    ----------
    records : sequence of mapping
        One per candidate, with its ``rank``, ``status`` and ``trust``.

    Returns
    -------
    str

    Examples
    --------
    >>> row = {"rank": 1, "status": "ok", "trust": "ok"}
    >>> say_verdict([row, row, row | {"status": "unknown_element"}])
    '2 of 3 candidates have a value; none of them is unlike what the model ...'
    """
    predicted = [record for record in records if record["status"] == "ok"]
    trust = Counter(record["trust"] for record in predicted)
    n, total = len(predicted), len(records)
    verb = "has" if 1 in (n, total) else "have"
    said = f"{n:,} of {total:,} candidate{'' if total == 1 else 's'} {verb} a value"
    if not n:
        return f"{said}."
    parts = []
    if trust["flagged"] or not trust["untested"]:
        parts.append(
            _share(trust["flagged"], n, "unlike what the model has learned from")
            + _among_best(predicted)
        )
    if trust["untested"]:
        parts.append(_share(trust["untested"], n, "not tested for trust"))
    return f"{said}; {' and '.join(parts)}."


def _share(part: int, n: int, what: str) -> str:
    verb = "is" if part <= 1 else "are"
    if n == 1:
        return f"it is {what}" if part else f"it is not {what}"
    amount = {0: "none", n: "all"}.get(part, f"{part:,}")
    return f"{amount} of them {verb} {what}"


def _among_best(predicted: Sequence[Mapping[str, Any]]) -> str:
    """Return how many of the first ranks are flagged, if some rows are."""
    ranked = sorted((r["rank"], r["trust"]) for r in predicted if r["rank"] is not None)
    trust = [each for _, each in ranked[:N_BEST]]
    n_flagged = sum(record["trust"] == "flagged" for record in predicted)
    if n_flagged in (0, len(predicted)) or not trust:
        return ""
    return f", {trust.count('flagged') or 'none'} of the best {len(trust)} among these"
