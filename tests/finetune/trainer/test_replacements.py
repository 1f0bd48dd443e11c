"""What the trainer replaces in deepmd-kit, beside what it replaces."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from deepmd.dpmodel.utils.stat import collect_observed_types
from deepmd.pt.optimizer import hybrid_muon
from deepmd.utils import econf_embd

from mftscreen.finetune.trainer import process as trainer
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


def test_the_trainer_steps_as_deepmd_kit_but_for_rounding(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    matrices = torch.randn((2, 16, 40), generator=torch.Generator().manual_seed(2))
    theirs = hybrid_muon._batched_newton_schulz_orth(matrices)
    monkeypatch.setattr(hybrid_muon, "_batched_newton_schulz_orth", None)
    trainer.orthogonalize_in_single_precision()
    ours = hybrid_muon._batched_newton_schulz_orth(matrices)
    assert theirs.dtype == torch.bfloat16
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, theirs.float(), atol=0.02, rtol=0)


def test_elements_are_sorted_as_by_deepmd_kit(monkeypatch: pytest.MonkeyPatch) -> None:
    elements = ["O", "X_1", "H", "U", "Fe"]
    theirs = econf_embd.sort_element_type(elements)
    monkeypatch.setattr(econf_embd, "sort_element_type", None)
    trainer.sort_elements_without_database()
    atypes = [{"atype": np.array([[0, 3, 4, 1, 2, -1]])}]
    assert collect_observed_types(atypes, elements) == theirs
    assert theirs == ["H", "O", "Fe", "U", "X_1"]
