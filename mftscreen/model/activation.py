"""SiLUT without the tanh where it is not needed.

deepmd-kit evaluates both branches of Eq. 18 of arXiv:2601.08486 for every number; the
threshold is crossed by few, and a small descriptor spends half its time there.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

__all__ = ["SparseSiLUT", "replace_silut"]


class SparseSiLUT(torch.nn.Module):
    """SiLU below a threshold t, tanh(a (x - t)) + b above, smooth at t.

    Parameters
    ----------
    threshold, slope, offset : float
        t, a and b of Eq. 18.
    """

    def __init__(self, threshold: float, slope: float, offset: float) -> None:
        super().__init__()
        self.threshold = threshold
        self.slope = slope
        self.offset = offset

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the activation of `x`, element by element."""
        result: torch.Tensor = functional.silu(x)
        (above,) = (x.reshape(-1) >= self.threshold).nonzero(as_tuple=True)
        if above.numel():
            large = x.reshape(-1)[above]
            result.view(-1)[above] = (
                torch.tanh(self.slope * (large - self.threshold)) + self.offset
            )
        return result


def replace_silut(module: Any) -> None:
    """Put :class:`SparseSiLUT` in place of every SiLUT below a deepmd module."""
    for child in module.modules():
        silut = getattr(child, "silut", None)
        if silut is None or isinstance(silut, SparseSiLUT):
            continue
        offset = silut.const_val if hasattr(silut, "const_val") else silut.const
        child.silut = SparseSiLUT(silut.threshold, silut.slope, offset)
