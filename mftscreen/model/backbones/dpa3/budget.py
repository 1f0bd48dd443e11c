"""The padding of a DPA3 descriptor, which does not enter the numbers.

With ``use_dynamic_sel`` it works on the neighbours there are; its ``e_sel`` and
``a_sel`` only size the padding. Their ratios to ``sel_reduce_factor`` do enter the
numbers, so all three can shrink or grow together.
"""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock, RLock
from typing import Any
from weakref import WeakKeyDictionary

from mftscreen.model.backbones.seam import NeighborBudget
from mftscreen.model.files.checkpoint import model_parameters
from mftscreen.model.network.graph import NeighborGraph

__all__ = ["DynamicBudget", "by_turns", "fit_parameters", "fit_state"]

BUFFERS = (".descriptor.repflows.mean", ".descriptor.repflows.stddev")

_locks: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
_of_locks = Lock()


def _forget_locks() -> None:
    """Let a process that was forked have locks that no thread of its parent holds."""
    global _of_locks
    _of_locks = Lock()
    _locks.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_locks)


@contextmanager
def by_turns(repflows: Any) -> Iterator[None]:
    """Let the threads that share a descriptor wait for each other.

    Parameters
    ----------
    repflows : torch.nn.Module
        deepmd-kit's ``DescrptBlockRepflows``, attributes of which are replaced as long
        as the context lasts.
    """
    with _of_locks:
        lock = _locks.setdefault(repflows, RLock())
    with lock:
        yield


def fit_parameters(
    parameters: Mapping[str, Any], neighbors: tuple[int, int]
) -> dict[str, Any]:
    """Return the descriptor with padding for the data at hand.

    Parameters
    ----------
    parameters : mapping
        deepmd-kit's of a pretrained descriptor.
    neighbors : tuple of int
        Most neighbours of an atom within the edge and within the angle cutoff.

    Returns
    -------
    dict

    Examples
    --------
    >>> repflow = {"e_sel": 1200, "a_sel": 300, "sel_reduce_factor": 10.0}
    >>> pretrained = {"repflow": {**repflow, "use_dynamic_sel": True}}
    >>> fit_parameters(pretrained, (60, 30))["repflow"]["e_sel"]
    120
    """
    resized: dict[str, Any] = copy.deepcopy(dict(parameters))
    repflow = resized["repflow"]
    if not repflow.get("use_dynamic_sel", False):
        return resized
    edge, angle = int(repflow["e_sel"]), int(repflow["a_sel"])
    factor = max(neighbors[0] / edge, neighbors[1] / angle)
    reduced = float(repflow["sel_reduce_factor"])
    # the smallest whole numbers that are large enough and in the exact ratio
    divisor = math.gcd(edge, angle)
    steps = max(1, math.ceil(factor * divisor))
    repflow["e_sel"] = edge // divisor * steps
    repflow["a_sel"] = angle // divisor * steps
    repflow["sel_reduce_factor"] = reduced * steps / divisor
    return resized


def fit_state(
    state: Mapping[str, Any], parameters: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a state whose padding is that of a descriptor; the model is the same.

    Parameters
    ----------
    state : mapping
        Of a model whose statistics do not depend on the neighbour's number (true for
        ``use_dynamic_sel``).
    parameters : mapping
        deepmd-kit's of the descriptor.

    Returns
    -------
    dict
        A new state; the old one is not changed.
    """
    n_neighbors = int(parameters["repflow"]["e_sel"])
    resized: dict[str, Any] = {}
    for key, value in state.items():
        if key.endswith(BUFFERS):
            resized[key] = value[:, :1].repeat(1, n_neighbors, 1)
        elif key == "_extra_state":
            resized[key] = copy.deepcopy(value)
        else:
            resized[key] = value
    budget = ("e_sel", "a_sel", "sel_reduce_factor")
    for head in model_parameters(resized).values():
        own = head["descriptor"]["repflow"]
        own.update({name: parameters["repflow"][name] for name in budget})
    return resized


@dataclass(frozen=True)
class DynamicBudget(NeighborBudget):
    """All neighbours there are.

    Attributes
    ----------
    repflows : torch.nn.Module
        deepmd-kit's ``DescrptBlockRepflows``.
    """

    repflows: Any = None

    @classmethod
    def of(cls, descriptor: Any) -> DynamicBudget | None:
        """Return the budget of a descriptor; None if it cannot take all neighbours."""
        repflows = descriptor.repflows
        if (
            repflows.use_dynamic_sel
            and bool((repflows.mean == repflows.mean[:, :1]).all())
            and bool((repflows.stddev == repflows.stddev[:, :1]).all())
        ):
            return cls(None, float(repflows.a_rcut), repflows)
        return None

    @contextmanager
    def fit(self, graph: NeighborGraph) -> Iterator[None]:
        """Size the descriptor's padding for one batch, as long as the context lasts."""
        repflows = self.repflows
        with by_turns(repflows):
            before = repflows.mean, repflows.stddev, repflows.a_sel
            n_neighbors = graph.neighbors.shape[2]
            repflows.mean = before[0][:, :1].expand(-1, n_neighbors, -1)
            repflows.stddev = before[1][:, :1].expand(-1, n_neighbors, -1)
            repflows.a_sel = graph.n_angle_neighbors
            try:
                yield
            finally:
                repflows.mean, repflows.stddev, repflows.a_sel = before
