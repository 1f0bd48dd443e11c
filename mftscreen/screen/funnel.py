"""A funnel: fast models see all candidates, slow ones the best of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from math import ceil
from typing import Any

import numpy as np

from mftscreen.errors import ConfigError, ModelError, UnknownPropertyError
from mftscreen.screen.candidates.stream import Candidate
from mftscreen.screen.order.rank_options import RankOptions
from mftscreen.screen.result.stages import rank_rows, read_rows
from mftscreen.screen.work.evaluation import EvaluationSettings, open_evaluator
from mftscreen.screen.work.journal import Journal

__all__ = ["choose_best", "count_kept", "open_models", "read_again"]

_KEEP = re.compile(r"(?P<number>\d+)|(?P<percent>\d+\.?\d*|\.\d+)\s*%", re.ASCII)


def count_kept(keep: str | int, n_ranked: int) -> int:
    """Return how many candidates a funnel keeps.

    Parameters
    ----------
    keep : str or int
        A share, as in ``"10%"``, or a number.
    n_ranked : int
        How many candidates have a rank.

    Returns
    -------
    int
        A share is rounded up.

    Raises
    ------
    ConfigError
        If `keep` is neither, is nothing or more than all.

    Examples
    --------
    >>> count_kept("10%", 226), count_kept(100, 226), count_kept("500", 226)
    (23, 100, 226)
    """
    match = _KEEP.fullmatch(str(keep).strip())
    if match is not None:
        # not a float, in which 7 % of 100 are a little more than 7
        amount = Fraction(match["number"] or match["percent"])
        if match["number"] and amount > 0:
            return min(int(amount), n_ranked)
        if match["percent"] and 0 < amount <= 100:
            return ceil(amount * n_ranked / 100)
    problem = f"keep: {keep!r} is neither a share such as 10% nor a number such as 200"
    raise ConfigError([problem])


def open_models(
    stages: Sequence[EvaluationSettings], keep: str | int
) -> tuple[list[EvaluationSettings], dict[str, Any]]:
    """Load the models of a screening, of which those of the first stage stay in memory.

    Parameters
    ----------
    stages : sequence of EvaluationSettings
        One, or two for a funnel.
    keep : str or int
        As for :func:`count_kept`.

    Returns
    -------
    stages : list of EvaluationSettings
        With sha256 and lasting paths.
    facts : dict of str to object
        What the description of the screening says of the models.

    Raises
    ------
    ModelError
        If a model cannot be loaded, or both stages have the same models.
    UnknownPropertyError
        As :class:`mftscreen.screen.work.evaluation.Evaluator`, or if both stages give a
        property in different units.
    """
    if len(stages) == 1:
        settings, facts = _open(stages[0])
        return [settings], facts
    slow, slow_facts = _open(stages[1])
    fast, fast_facts = _open(stages[0])
    if fast.sha256 == slow.sha256:
        msg = "both stages of the funnel have the same models"
        raise ModelError(msg)
    for name, unit in fast_facts["units"].items():
        if (other := slow_facts["units"][name]) != unit:
            msg = f"the fast model gives {name} in {unit}, the slow one in {other}"
            raise UnknownPropertyError(msg)
    funnel = {key: fast_facts[key] for key in ("models", "model_sources")}
    return [fast, slow], {**slow_facts, "funnel": {**funnel, "keep": str(keep)}}


def _open(settings: EvaluationSettings) -> tuple[EvaluationSettings, dict[str, Any]]:
    evaluator = open_evaluator(settings)
    return evaluator.settings, {
        "models": evaluator.model_names,
        "model_sources": list(evaluator.settings.models),
        "units": evaluator.units,
        "labels": evaluator.labels,
        "label_ranges": evaluator.label_ranges,
        "n_train": evaluator.n_train,
        "calibration": evaluator.calibration_rows(),
    }


def choose_best(
    journal: Journal, options: RankOptions, keep: str | int
) -> list[tuple[int, str]]:
    """Return the candidates of the first stage that the second one is to see.

    Parameters
    ----------
    journal : Journal
        With all candidates of the first stage.
    options : RankOptions
        How to rank them. Those without a rank are not among the best: copies, what
        failed or is beyond a bound, and with the policy ``exclude`` what is flagged.
    keep : str or int
        As for :func:`count_kept`, of those that have a rank.

    Returns
    -------
    list of (int, str)
        Places in the source, from 0, and ids, in the order of the source.
    """
    rows, _ = read_rows(journal, options)
    ranking = rank_rows(rows, options)
    n_kept = count_kept(keep, int(np.count_nonzero(ranking.ranks)))
    best = sorted(ranking.order[:n_kept].tolist())  # those that have a rank are first
    return [(k, rows[k].id) for k in best]


def read_again(
    journal: Journal, chosen: Sequence[tuple[int, str]]
) -> Iterator[Candidate]:
    """Yield candidates of a journal, relaxed if they were, as a source would.

    Parameters
    ----------
    journal : Journal
    chosen : sequence of (int, str)
        Places and ids.
    """
    for place, name in chosen:
        (atoms,) = journal.structures([place])
        yield Candidate(name, atoms)
