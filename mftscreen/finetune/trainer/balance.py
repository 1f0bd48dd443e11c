"""How the two losses of multi-task fine-tuning are combined, and how that went.

The parent process writes a :class:`Combination` beside deepmd-kit's ``input.json``; the
process that trains (:mod:`mftscreen.finetune.trainer.process`) reads it and writes down
what it measures.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Literal

__all__ = [
    "Combination",
    "balanced_lambda",
    "measured_lambdas",
    "summarize_training",
]

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
    auxiliary : sequence of str
        The auxiliary heads, if there are any.
    combine : {"alternate", "joint"}
        One head per step, drawn at random, or the sum of all heads in every step.
    aux_prob : mapping of str to float
        Share of the steps that are of each auxiliary head, when they alternate.
    lambda_reg : mapping of str to float or "auto"
        Weight of each auxiliary loss (Eq. 11). A number is in the loss prefactors of
        ``input.json`` already.
    layer_decay : float
        Factor on the learning rate from each layer to the one below; 1 for none.
    shared : sequence of sequence of str
        Property heads with labels of the same rows: a batch of the first trains all.
    """

    auxiliary: Sequence[str] = ()
    combine: Literal["alternate", "joint"] = "alternate"
    aux_prob: Mapping[str, float] = field(default_factory=dict)
    lambda_reg: Mapping[str, float | Literal["auto"]] = field(default_factory=dict)
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

    def batches_for_each(self, head: str, n_downstream: int) -> float:
        """Return how many batches a property has for each of an auxiliary head.

        Parameters
        ----------
        head : str
            The auxiliary one.
        n_downstream : int
            Number of properties.
        """
        if self.combine == "joint":
            return 1.0
        left = 1.0 - sum(self.aux_prob.values())
        return left / (n_downstream * self.aux_prob[head])

    @classmethod
    def read(cls, directory: Path) -> Combination:
        """Read what :meth:`to_json` gave from ``combination.json`` in a directory."""
        values = json.loads((directory / COMBINATION).read_text())
        head = values.get("auxiliary", [])
        if not isinstance(head, list):  # of earlier versions, which had one at most
            values["auxiliary"] = [] if head is None else [head]
            for key in ("aux_prob", "lambda_reg"):
                value = values.get(key)
                given = head is not None and value is not None
                values[key] = {head: value} if given else {}
        return cls(**values)

    def to_json(self) -> str:
        """Return the text of ``combination.json``."""
        return json.dumps(asdict(self), indent=1)


def balanced_lambda(
    downstream: Sequence[float],
    auxiliary: Sequence[float],
    batches: float = 1.0,
) -> float:
    r"""Return the weight that makes both tasks pull equally at the descriptor.

    Parameters
    ----------
    downstream : sequence of float
        Norms, in the shared descriptor, of the gradient of the sum of the downstream
        losses on several batches.
    auxiliary : sequence of float
        Norms of the gradient of the auxiliary loss, with ``lambda_reg`` 1.
    batches : float, optional
        Of one downstream head for each of the auxiliary head; see
        :meth:`Combination.batches_for_each`.

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
    :math:`\lambda = \frac{1 - P}{n p} \, g_\mathrm{task} / g_\mathrm{reg}` with
    :math:`n` downstream heads that share what all auxiliary heads leave,
    :math:`1 - P`.

    Examples
    --------
    >>> balanced_lambda([2.0, 3.0, 4.0], [30.0])
    0.1
    >>> balanced_lambda([3.0], [12.0], batches=0.8 / 0.2)
    1.0
    """
    task, reg = median(downstream), median(auxiliary)
    if not 0 < task < float("inf") or not 0 < reg < float("inf"):
        msg = (
            f"lambda_reg: auto needs two gradients in the descriptor; their norms are "
            f"{task:g} (downstream) and {reg:g} (auxiliary)"
        )
        raise ValueError(msg)
    return task / reg * batches


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
        ``lambda_reg``, ``combine`` and, when steps alternate, ``aux_prob``. What is of
        an auxiliary head is a mapping by head where there are several. With streams,
        ``streams``: how many frames each head has drawn, used and left out, and
        ``elements``, which are more than those of the sample in memory.
    """
    combination = Combination.read(directory)
    # after a kill, the steps since the last checkpoint are there twice
    intervals = {row["step"]: row for row in _read_lines(directory / GRADIENTS)}
    batches: Counter[str] = Counter()
    for row in intervals.values():
        batches.update(row["batches"])
    summary: dict[str, Any] = {"batches": dict(batches)}
    heads = combination.auxiliary
    if not heads or not batches:
        return summary
    summary["combine"] = combination.combine
    found: dict[str, dict[str, Any]] = {}
    if combination.combine == "alternate":
        found["aux_prob"] = dict(combination.aux_prob)
    drawn = sum(batches[name] for name in combination.drawn(batches))
    found["aux_share"] = {head: batches[head] / drawn for head in heads}
    found["lambda_reg"] = {
        **combination.lambda_reg,
        **measured_lambdas(directory, heads),
    }
    found["gradient_ratio"] = {
        head: _median_ratio(intervals.values(), head, heads) for head in heads
    }
    for key, values in found.items():
        # of one head as it is, of several by head
        summary[key] = values if len(heads) > 1 else values[heads[0]]
    last = intervals[max(intervals)]
    if last.get("streams"):
        summary["streams"] = last["streams"]
        summary["elements"] = last.get("elements", {})
    return summary


def measured_lambdas(directory: Path, heads: Sequence[str]) -> dict[str, float]:
    """Return the weights of auxiliary losses that a run has measured, if it has.

    Parameters
    ----------
    directory : Path
    heads : sequence of str
        Auxiliary ones, of which earlier versions had one.
    """
    path = directory / LAMBDA
    if not path.exists():
        return {}
    found = json.loads(path.read_text())["lambda_reg"]
    return found if isinstance(found, dict) else {heads[0]: found}


def _read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield what the trainer has written, but for lines that were cut short."""
    for line in path.read_text().splitlines() if path.exists() else ():
        with suppress(json.JSONDecodeError):
            yield json.loads(line)


def _median_ratio(
    intervals: Iterable[Mapping[str, Any]], head: str, heads: Sequence[str]
) -> float | None:
    others = set(heads) - {head}
    ratios = [
        ratio
        for row in intervals
        if (ratio := _ratio(row["gradient_norms"], head, others)) is not None
    ]
    return median(ratios) if ratios else None


def _ratio(
    norms: Mapping[str, float], auxiliary: str, left_out: Collection[str]
) -> float | None:
    """Return the auxiliary norm over the largest of the properties'."""
    others = [
        norm for head, norm in norms.items() if head not in {auxiliary, *left_out}
    ]
    if auxiliary not in norms or not others or max(others) == 0:
        return None
    return norms[auxiliary] / max(others)
