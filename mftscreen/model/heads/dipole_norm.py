"""The net of the norm of the dipole moment; see :mod:`mftscreen.model.heads`."""

# deepmd-kit compiles its models with TorchScript, which reads annotations at run time:
# no "from __future__ import annotations", and super() is not known in forward passes

from typing import Any

import numpy as np
import torch
from deepmd.dpmodel.output_def import FittingOutputDef, OutputVariableDef
from deepmd.pt.model.task.fitting import Fitting

from mftscreen.model.heads.molecular import FloatArray, MolecularFitting

__all__ = ["DipoleNormFitting"]


@Fitting.register("dipole_norm")
class DipoleNormFitting(MolecularFitting):
    """A charge and a vector for every atom.

    Parameters
    ----------
    embedding_width : int
        Number of vectors in the equivariant descriptor of an atom.
    **settings
        Those of deepmd-kit's ``PropertyFittingNet``.
    """

    def __init__(self, *, embedding_width: int, **settings: Any) -> None:
        self.embedding_width = embedding_width
        super().__init__(**settings)

    def _net_out_dim(self) -> int:
        return 1 + self.embedding_width

    def output_def(self) -> FittingOutputDef:
        """Return what this net gives, which is not yet the property."""
        return FittingOutputDef([OutputVariableDef(self.var_name, [4])])

    def forward(
        self,
        descriptor: torch.Tensor,
        atype: torch.Tensor,
        gr: torch.Tensor | None = None,
        g2: torch.Tensor | None = None,
        h2: torch.Tensor | None = None,
        fparam: torch.Tensor | None = None,
        aparam: torch.Tensor | None = None,
        return_atomic_feature: bool = False,
    ) -> dict[str, torch.Tensor]:
        """Return charge and vector (n_frames, n_atoms, 4) under the variable's name."""
        assert gr is not None, "the descriptor has no equivariant part"
        result: dict[str, torch.Tensor] = self._forward_common(
            descriptor, atype, gr, g2, h2, fparam, aparam, return_atomic_feature
        )
        numbers = result[self.var_name].to(gr.dtype)
        vectors = torch.matmul(numbers[:, :, None, 1:], gr).squeeze(2)
        result[self.var_name] = torch.cat([numbers[:, :, :1], vectors], dim=-1)
        return result

    def dipoles(self, latent: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Return atomic dipoles (n_frames, n_atoms, 3); see :meth:`combine`."""
        return latent[:, :, :1] * positions + latent[:, :, 1:]

    def combine(self, latent: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Return atomic contributions; `latent` has a charge and a vector each."""
        dipoles = self.dipoles(latent, positions)
        total = dipoles.sum(dim=1, keepdim=True)
        norm = torch.linalg.vector_norm(total, dim=-1, keepdim=True)
        direction: torch.Tensor = total / norm.clamp(min=1e-12)
        return (dipoles * direction).sum(dim=-1, keepdim=True)

    def fit_scales(
        self, squares: FloatArray, labels: FloatArray, least: float
    ) -> tuple[FloatArray, float, float]:
        """Return no biases, the size of the labels, and s."""
        size = max(float(np.sqrt((labels**2).mean())), least)
        reach = float(np.sqrt(squares.sum(axis=1).mean()))
        return np.zeros(squares.shape[1]), size, size / reach
