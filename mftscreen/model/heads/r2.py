"""The net of ⟨R²⟩; see :mod:`mftscreen.model.heads`."""

# deepmd-kit compiles its models with TorchScript, which reads annotations at run time:
# no "from __future__ import annotations", and super() is not known in forward passes

import numpy as np
import torch
from deepmd.pt.model.task.fitting import Fitting

from mftscreen.model.heads.molecular import FloatArray, MolecularFitting

__all__ = ["R2Fitting"]


@Fitting.register("r2")
class R2Fitting(MolecularFitting):
    """Weights of squared distances to the centre of mass."""

    def combine(self, latent: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Return atomic contributions; `latent` has a weight each."""
        return latent * (positions * positions).sum(dim=-1, keepdim=True)

    def fit_scales(
        self, squares: FloatArray, labels: FloatArray, least: float
    ) -> tuple[FloatArray, float, float]:
        """Return the biases of least squares, the spread about them, and s."""
        total = squares.sum(axis=1, keepdims=True)
        columns = squares if self.distinguish_types else total
        solution = np.linalg.lstsq(columns, labels)[0]
        bias = np.broadcast_to(solution, squares.shape[1:]).astype(np.float64)
        spread = max(float((labels - squares @ bias).std()), least)
        return bias, spread, spread / float(total.mean())
