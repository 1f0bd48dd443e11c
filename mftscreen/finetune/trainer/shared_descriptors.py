"""One pass through the descriptor for all heads that a batch trains."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import torch

__all__ = ["SharedDescriptors"]

METHODS = ("forward", "forward_with_edges")
"""By which deepmd-kit's models evaluate descriptors; the second is that of DPA4."""


class SharedDescriptors:
    """Descriptors that are evaluated once for all heads which one batch trains.

    Parameters
    ----------
    groups : iterable of sequence of torch.nn.Module
        Descriptors of such heads: modules of their own, mostly with the same
        parameters. Those of a group in which one has others are evaluated each.
    """

    def __init__(self, groups: Iterable[Sequence[torch.nn.Module]]) -> None:
        self._active = False
        self._outputs: dict[str, Any] = {}
        for group in groups:
            weights = [set(map(id, module.parameters())) for module in group]
            # deepmd-kit does not share the embeddings of charge and spin
            if len(group) > 1 and all(own == weights[0] for own in weights):
                for descriptor in group:
                    self._share(descriptor)

    def begin(self) -> None:
        """Keep the next output for all evaluations until :meth:`end`."""
        self._active, self._outputs = True, {}

    def end(self) -> None:
        """Forget the output and evaluate as usual."""
        self._active, self._outputs = False, {}

    def _share(self, descriptor: Any) -> None:
        for name in METHODS:
            if hasattr(descriptor, name):
                method = partial(self._evaluate, name, getattr(descriptor, name))
                setattr(descriptor, name, method)

    def _evaluate(
        self, name: str, method: Callable[..., Any], *args: Any, **options: Any
    ) -> Any:
        if not self._active:
            return method(*args, **options)
        if name not in self._outputs:
            self._outputs[name] = method(*args, **options)
        return self._outputs[name]
