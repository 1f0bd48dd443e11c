"""Compiled loops against products that are written out, and their derivatives."""

from __future__ import annotations

import threading
from itertools import pairwise

import numpy as np
import pytest
import torch

from mftscreen.model.backbones.sevennet.convolution import (
    Edges,
    Paths,
    _compiled,
    _written_out,
    convolve,
)

SIZES = (1, 3, 5, 3)
N_ATOMS, N_COMPONENTS, N_CHANNELS = 4, 3, 2
PATHS = Paths(
    torch.tensor([0, *SIZES]).cumsum(0),
    torch.arange(len(SIZES)).repeat_interleave(torch.tensor(SIZES)),
)


def _edges(n_edges: int) -> Edges:
    """Return edges between all atoms but the last."""
    generator = torch.Generator().manual_seed(n_edges)
    ends = torch.randint(N_ATOMS - 1, (2, n_edges), generator=generator)
    return Edges(ends[0], ends[1], N_ATOMS)


def _factors(n_edges: int, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    """Return weights, couplings, features and what is as messages."""
    n_messages = sum(SIZES)
    generator = torch.Generator().manual_seed(1)
    return [
        torch.randn(shape, generator=generator, dtype=dtype)
        for shape in [
            (n_edges, len(SIZES), N_CHANNELS),
            (n_edges, N_COMPONENTS, n_messages),
            (N_ATOMS, N_COMPONENTS, N_CHANNELS),
            (N_ATOMS, n_messages, N_CHANNELS),
        ]
    ]


def _without(factors: list[torch.Tensor], place: int) -> list[torch.Tensor | None]:
    return [None if k == place else factor for k, factor in enumerate(factors)]


def test_messages_are_what_the_equation_says() -> None:
    edges = _edges(6)
    weights, couplings, features, _ = _factors(6)
    expected = torch.zeros(N_ATOMS, sum(SIZES), N_CHANNELS, dtype=torch.float64)
    ends = zip(edges.centers.tolist(), edges.others.tolist(), strict=True)
    for e, (i, j) in enumerate(ends):
        for p, (start, stop) in enumerate(pairwise(PATHS.starts.tolist())):
            turned = couplings[e, :, start:stop].T @ features[j]
            expected[i, start:stop] += weights[e, p] * turned
    found = convolve(weights, couplings, features, edges, PATHS)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert not found[-1].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n_edges", [0, 1, 9])
@pytest.mark.parametrize("place", range(4))
def test_loops_give_what_is_written_out(
    place: int, n_edges: int, dtype: torch.dtype
) -> None:
    edges, factors = _edges(n_edges), _factors(n_edges, dtype)
    present = _without(factors, place)
    found = _compiled(place, edges, PATHS, present)
    expected = _written_out(place, edges, PATHS, present)
    assert found.dtype == expected.dtype == dtype
    assert found.shape == factors[place].shape
    atol = 1e-12 if dtype == torch.float64 else 1e-5
    torch.testing.assert_close(found, expected, atol=atol, rtol=0)


@pytest.mark.parametrize("written_out", [False, True])
def test_derivatives(written_out: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if written_out:
        monkeypatch.setattr(f"{convolve.__module__}._compiled", _written_out)
    edges = _edges(5)
    factors = [factor.requires_grad_() for factor in _factors(5)[:3]]

    def function(*inputs: torch.Tensor) -> torch.Tensor:
        return convolve(*inputs, edges, PATHS)

    assert torch.autograd.gradcheck(function, factors)
    assert torch.autograd.gradgradcheck(function, factors)


def test_only_what_is_asked_for_is_differentiated() -> None:
    edges = _edges(5)
    weights, couplings, features, _ = _factors(5)
    features.requires_grad_()
    convolve(weights, couplings, features, edges, PATHS).sum().backward()
    assert features.grad is not None
    assert (weights.grad, couplings.grad) == (None, None)


def test_inputs_of_any_layout() -> None:
    edges = _edges(5)
    weights, couplings, features, _ = _factors(5)
    expected = convolve(weights, couplings, features, edges, PATHS)
    strided = [f.transpose(1, 2).contiguous().transpose(1, 2) for f in
               (weights, couplings, features)]  # fmt: skip
    assert not any(factor.is_contiguous() for factor in strided)
    assert torch.equal(convolve(*strided, edges, PATHS), expected)


def test_loops_run_in_threads() -> None:
    edges, factors = _edges(200), _factors(200)
    expected = [_compiled(k, edges, PATHS, _without(factors, k)) for k in range(4)]
    wrong: list[int] = []

    def repeat() -> None:
        for place in [0, 1, 2, 3] * 20:
            found = _compiled(place, edges, PATHS, _without(factors, place))
            if not torch.equal(found, expected[place]):
                wrong.append(place)

    threads = [threading.Thread(target=repeat) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
