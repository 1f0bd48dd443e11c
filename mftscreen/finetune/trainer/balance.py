"""How the two losses of multi-task fine-tuning are combined, and how that went.

The parent process writes a :class:`Combination` beside deepmd-kit's ``input.json``; the
process that trains (:mod:`mftscreen.finetune.trainer.process`) reads it and writes down
what it measures.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

__all__ = ["Combination", "balanced_lambda", "summarize_training"]

COMBINATION, LAMBDA, GRADIENTS = (
    "combination.json",
    "lambda_reg.json",
    "gradients.jsonl",
)


@dataclass(frozen=True)
class Combination:
    """What the trainer does that deepmd-kit's input cannot say.

    Attributes
    ----------
    auxiliary : str or None
        The auxiliary head, if there is one.
    combine : {"alternate", "joint"}
        One head per step, drawn at random, or the sum of all heads in every step.
    aux_prob : float
        Share of the steps that are auxiliary, when they alternate.
    lambda_reg : float, "auto" or None
        Weight of the auxiliary loss (Eq. 11). A number is in the loss prefactors of
        ``input.json`` already.
    layer_decay : float
        Factor on the learning rate from each layer to the one below; 1 for none.
    shared : sequence of sequence of str
        Property heads with labels of the same rows: a batch of the first trains all.
    """

    auxiliary: str | None = None
    combine: Literal["alternate", "joint"] = "alternate"
    aux_prob: float = 0.5
    lambda_reg: float | Literal["auto"] | None = None
    layer_decay: float = 1.0
    shared: Sequence[Sequence[str]] = ()

    def sharing(self, head: str) -> list[str]:
        """Return the heads that a batch of a head trains, this one first.

        Parameters
        ----------
        head : str
            That batches are drawn for.
        """
        return next((list(heads) for heads in self.shared if heads[0] == head), [head])

    def drawn(self, heads: Iterable[str]) -> list[str]:
        """Return those of some heads that batches are drawn for."""
        others = {head for heads in self.shared for head in heads[1:]}
        return [head for head in heads if head not in others]

    @classmethod
    def read(cls, directory: Path) -> Combination:
        """Read what :meth:`to_json` gave from ``combination.json`` in a directory."""
        return cls(**json.loads((directory / COMBINATION).read_text()))

    def to_json(self) -> str:
        """Return the text of ``combination.json``."""
        return json.dumps(asdict(self), indent=1)


def balanced_lambda(
    downstream: Sequence[float],
    auxiliary: Sequence[float],
    combination: Combination,
    n_downstream: int = 1,
) -> float:
    r"""Return the weight that makes both tasks pull equally at the descriptor.

    Parameters
    ----------
    downstream : sequence of float
        Norms, in the shared descriptor, of the gradient of the sum of the downstream
        losses on several batches.
    auxiliary : sequence of float
        Norms of the gradient of the auxiliary loss, with ``lambda_reg`` 1.
    combination : Combination
    n_downstream : int, optional
        Number of downstream heads.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If one of the medians is 0 or not finite.

    Notes
    -----
    With :math:`g` the median norms, :math:`\lambda = g_\mathrm{task} / g_\mathrm{reg}`
    for a joint step. When steps alternate, a task contributes to Adam's moments in
    proportion to its share :math:`p` of the steps, and
    :math:`\lambda = \frac{1 - p}{n p} \, g_\mathrm{task} / g_\mathrm{reg}` with
    :math:`n` downstream heads that share :math:`1 - p`.

    Examples
    --------
    >>> balanced_lambda([2.0, 3.0, 4.0], [30.0], Combination("ff", "joint"))
    0.1
    >>> balanced_lambda([3.0], [12.0], Combination("ff", "alternate", aux_prob=0.2))
    1.0
    """
    task, reg = median(downstream), median(auxiliary)
    if not 0 < task < float("inf") or not 0 < reg < float("inf"):
        msg = (
            f"lambda_reg: auto needs two gradients in the descriptor; their norms are "
            f"{task:g} (downstream) and {reg:g} (auxiliary)"
        )
        raise ValueError(msg)
    ratio = task / reg
    if combination.combine == "joint":
        return ratio
    p = combination.aux_prob
    return ratio * (1 - p) / (n_downstream * p)


def summarize_training(directory: Path) -> dict[str, Any]:
    """Return how the tasks were really sampled and weighted in a run.

    Parameters
    ----------
    directory : Path
        Of the run, with ``gradients.jsonl`` if it got that far.

    Returns
    -------
    dict
        ``batches``, by head; and with an auxiliary head ``aux_share``, its share of the
        batches that were drawn; ``gradient_ratio``, the median over the run of the
        weighted auxiliary gradient's norm in the descriptor over that of a downstream
        batch, the largest where there are several kinds;
        ``lambda_reg``, ``combine`` and, when steps alternate, ``aux_prob``.
    """
    combination = Combination.read(directory)
    path = directory / GRADIENTS
    lines = path.read_text().splitlines() if path.exists() else []
    # after a kill, the steps since the last checkpoint are there twice
    intervals = {row["step"]: row for row in map(json.loads, lines)}
    batches: Counter[str] = Counter()
    for row in intervals.values():
        batches.update(row["batches"])
    summary: dict[str, Any] = {"batches": dict(batches)}
    head = combination.auxiliary
    if head is None or not batches:
        return summary
    summary["combine"] = combination.combine
    if combination.combine == "alternate":
        summary["aux_prob"] = combination.aux_prob
    drawn = sum(batches[name] for name in combination.drawn(batches))
    summary["aux_share"] = batches[head] / drawn
    summary["lambda_reg"] = combination.lambda_reg
    if combination.lambda_reg == "auto":
        measured = json.loads((directory / LAMBDA).read_text())
        summary["lambda_reg"] = measured["lambda_reg"]
    ratios = [
        ratio
        for row in intervals.values()
        if (ratio := _ratio(row["gradient_norms"], head)) is not None
    ]
    summary["gradient_ratio"] = median(ratios) if ratios else None
    return summary


def _ratio(norms: Mapping[str, float], auxiliary: str) -> float | None:
    """Return the auxiliary norm over the largest of the others."""
    others = [norm for head, norm in norms.items() if head != auxiliary]
    if auxiliary not in norms or not others or max(others) == 0:
        return None
    return norms[auxiliary] / max(others)
