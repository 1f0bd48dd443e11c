"""The matrix iteration of Muon, in single precision.

deepmd-kit's HybridMuon orthogonalises updates in bfloat16. CPUs without instructions
for it emulate these products, at over ten times the cost: most of a training step.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

__all__ = ["orthogonalize"]

_SMALLEST_NORM = 1e-7
Coefficients = tuple[float, float, float]


def orthogonalize(
    matrices: torch.Tensor, coefficients: Sequence[Coefficients]
) -> torch.Tensor:
    """Return the nearly orthogonal factors of matrices by Newton-Schulz iterations.

    Parameters
    ----------
    matrices : Tensor of shape (n_matrices, n_rows, n_columns)
        Each is divided by its Frobenius norm first.
    coefficients : sequence of tuple of float
        (a, b, c) of each iteration, X <- a X + b (X X^T) X + c (X X^T)^2 X.

    Returns
    -------
    Tensor of shape (n_matrices, n_rows, n_columns)
        In single precision. With U S V^T the singular value decomposition of a matrix,
        U S' V^T where S' depends on the coefficients; those of Muon bring it near 1.

    References
    ----------
    .. [1] Å. Björck and C. Bowie, SIAM J. Numer. Anal. 8, 358 (1971),
       doi:10.1137/0708036
    .. [2] K. Jordan et al., https://kellerjordan.github.io/posts/muon (2024)

    Examples
    --------
    >>> orthogonalize(torch.diag(torch.tensor([3.0, 1.0]))[None], [(1.5, -0.5, 0)] * 12)
    tensor([[[1., 0.],
             [0., 1.]]])
    """
    x = matrices.float()
    if tall := x.shape[-2] > x.shape[-1]:
        x = x.mT
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=_SMALLEST_NORM)
    for a, b, c in coefficients:
        gram = x @ x.mT
        x = torch.baddbmm(
            x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a
        )
    return x.mT if tall else x
