from __future__ import annotations

import gc
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from deepmd.dpmodel.utils import stat
from deepmd.pt.optimizer import hybrid_muon
from deepmd.utils.data import DeepmdData

from mftscreen.finetune.trainer import replacements


def test_the_trainer_steps_as_deepmd_kit_but_for_rounding(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    matrices = torch.randn((2, 16, 40), generator=torch.Generator().manual_seed(2))
    theirs = hybrid_muon._batched_newton_schulz_orth(matrices)
    monkeypatch.setattr(hybrid_muon, "_batched_newton_schulz_orth", None)
    replacements.orthogonalize_in_single_precision()
    ours = hybrid_muon._batched_newton_schulz_orth(matrices)
    assert theirs.dtype == torch.bfloat16
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, theirs.float(), atol=0.02, rtol=0)


def test_elements_are_sorted_as_by_deepmd_kit(monkeypatch: pytest.MonkeyPatch) -> None:
    elements = ["O", "X_1", "H", "U", "Fe", "Cu"]
    samples = [{"atype": torch.tensor([[0, 3, -1], [4, 1, 6]])}]
    samples.append({"atype": np.array([[2, 0]])})
    theirs = stat.collect_observed_types(samples, elements)
    monkeypatch.setattr(stat, "collect_observed_types", None)
    replacements.sort_elements_without_database()
    assert stat.collect_observed_types(samples, elements) == theirs
    assert theirs == ["H", "O", "Fe", "U", "X_1"]


class _Finalized:
    """Lets other threads run when the garbage collector finds it."""

    def __init__(self) -> None:
        self.cycle = self

    def __del__(self) -> None:
        for _ in range(200):
            pass


def test_threads_open_arrays_in_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "coord.npy"
    np.save(path, np.arange(6.0).reshape(2, 3))
    kept = DeepmdData._create_memmap  # with a descriptor of a file for each
    monkeypatch.setattr(DeepmdData, "_create_memmap", staticmethod(kept))
    replacements.open_arrays_in_turn()
    threshold, interval = gc.get_threshold(), sys.getswitchinterval()

    def opened(number: int) -> float:
        _Finalized()
        if number % 100 == 0:
            kept.cache_clear()
        return float(DeepmdData._create_memmap(str(path), str(number))[1, 2])

    try:
        gc.set_threshold(5)
        sys.setswitchinterval(1e-6)
        with ThreadPoolExecutor(8) as threads:
            found = set(threads.map(opened, range(4000)))
    finally:
        gc.set_threshold(*threshold)
        sys.setswitchinterval(interval)
        kept.cache_clear()
    assert found == {5.0}
