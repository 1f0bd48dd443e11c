from __future__ import annotations

import pytest
import torch
from deepmd.pt.optimizer import hybrid_muon

from mftscreen.finetune.trainer.orthogonalize import orthogonalize

MUON = [hybrid_muon.NS_COEFF_FAST] * hybrid_muon.NS_STEPS_FAST
MUON += [hybrid_muon.NS_COEFF_POLISH] * hybrid_muon.NS_STEPS_POLISH


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 8, 24), (2, 24, 8)])
def test_factors_are_those_of_the_singular_value_decomposition(
    shape: tuple[int, int, int],
) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    u, s, vh = torch.linalg.svd(matrices.double(), full_matrices=False)
    found = orthogonalize(matrices, MUON)
    kept = s / s.amax(-1, keepdim=True) > 0.02  # smaller ones are not there yet
    values = torch.diagonal(u.mT @ found.double() @ vh.mT, dim1=-2, dim2=-1)
    assert found.dtype == torch.float32
    assert (values[kept] - 1).abs().max() < 0.02


def test_a_matrix_of_zeros_stays_one() -> None:
    assert not orthogonalize(torch.zeros(1, 4, 4), MUON).any()
