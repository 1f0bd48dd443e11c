"""The activation of DPA3, SiLUT (Eq. 18 of arXiv:2601.08486), in one pass over memory.

deepmd-kit's needs eight passes for its value, and more for each derivative; in the
training of a small descriptor on forces, that is a third of the time.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.autograd.function import once_differentiable

if TYPE_CHECKING:
    from mftscreen.model.backbones.dpa3.kernels import SiLUT

__all__ = ["FusedSiLUT", "silut_constants"]

NUMBERS_PER_THREAD = 100_000
"""A fraction of a millisecond, so that it does not matter what a thread costs."""


def silut_constants(threshold: float = np.inf) -> SiLUT:
    """Return t, 2 a and 1 + b; value and slope at the threshold are those of SiLU.

    Parameters
    ----------
    threshold : float, optional
        t. Without one, the activation is SiLU itself.

    Returns
    -------
    tuple of float32

    Examples
    --------
    >>> t, twice_slope, top = silut_constants(3.0)
    >>> round(float(top) - 1, 4)  # of SiLU at 3
    2.8577
    """
    if np.isinf(threshold):
        return np.float32(np.inf), np.float32(1), np.float32(0)
    sigmoid = 1 / (1 + np.exp(-threshold))
    slope = sigmoid * (1 + threshold * (1 - sigmoid))
    return (
        np.float32(threshold),
        np.float32(2 * slope),
        np.float32(1 + threshold * sigmoid),
    )


class FusedSiLUT(torch.nn.Module):
    """SiLU below a threshold t, tanh(a (x - t)) + b above, smooth at t.

    In float32 on a CPU, value and derivatives are compiled loops; elsewhere they are
    deepmd-kit's.

    Parameters
    ----------
    silut : torch.nn.Module
        deepmd-kit's.
    """

    def __init__(self, silut: Any) -> None:
        super().__init__()
        self.original = silut
        self.threshold = float(silut.threshold)
        self.constants = silut_constants(self.threshold)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the activation of `x`, element by element; it has two derivatives."""
        result: torch.Tensor
        if x.device.type == "cpu" and x.dtype == torch.float32:
            result = _Value.apply(x, self.constants)  # type: ignore[no-untyped-call]
        else:
            result = self.original(x)
        return result


class _Value(torch.autograd.Function):
    """The activation."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, constants: SiLUT) -> torch.Tensor:
        from mftscreen.model.backbones.dpa3.kernels import activate

        ctx.save_for_backward(x)
        ctx.constants = constants
        result = x.detach().clone(memory_format=torch.contiguous_format)
        _run(lambda y: activate(y, constants), result)
        return result

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        (x,) = ctx.saved_tensors
        result = _Gradient.apply(x, gradient, ctx.constants)  # type: ignore[no-untyped-call]
        return result, None


class _Gradient(torch.autograd.Function):
    """The activation's derivative, times what comes from above."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, gradient: torch.Tensor, constants: SiLUT
    ) -> torch.Tensor:
        from mftscreen.model.backbones.dpa3.kernels import differentiate

        ctx.save_for_backward(x, gradient)
        ctx.constants = constants
        result = _empty(x)
        _run(lambda x, g, y: differentiate(x, g, constants, y), x, gradient, result)
        return result

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, outer: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, None]:
        from mftscreen.model.backbones.dpa3.kernels import differentiate_twice

        x, gradient = ctx.saved_tensors
        by_x, by_gradient = _empty(x), _empty(x)
        _run(
            lambda x, g, o, a, b: differentiate_twice(x, g, o, ctx.constants, a, b),
            x,
            gradient,
            outer,
            by_x,
            by_gradient,
        )
        return by_x, by_gradient, None


def _empty(x: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


def _run(kernel: Callable[..., None], *tensors: torch.Tensor) -> None:
    """Run a kernel on all numbers, shared out among torch's threads, or fewer."""
    flat = [tensor.detach().contiguous().view(-1).numpy() for tensor in tensors]
    n = flat[0].size
    n_threads = min(torch.get_num_threads(), 1 + n // NUMBERS_PER_THREAD)
    if n_threads == 1:
        kernel(*flat)
        return
    bounds = np.linspace(0, n, n_threads + 1).astype(int)
    parts = [[each[i:j] for each in flat] for i, j in pairwise(bounds)]
    with ThreadPoolExecutor(n_threads - 1) as pool:
        others = [pool.submit(kernel, *part) for part in parts[1:]]
        kernel(*parts[0])
        for other in others:
            other.result()
