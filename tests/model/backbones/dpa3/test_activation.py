from __future__ import annotations

import pytest
import torch

from mftscreen.model.backbones.dpa3.activation import FusedSiLUT


def _value_and_derivatives(
    activation: torch.nn.Module, x: torch.Tensor
) -> list[torch.Tensor]:
    """Return the activation, a gradient, and the gradients of that."""
    leaf = x.clone().requires_grad_()
    weights = torch.linspace(-1, 1, x.numel(), dtype=x.dtype).reshape(x.shape)
    weights.requires_grad_()
    y = activation(leaf)
    (gradient,) = torch.autograd.grad((y * weights).sum(), leaf, create_graph=True)
    outer = torch.autograd.grad((gradient**3).sum(), (leaf, weights))
    return [y.detach(), gradient.detach(), *outer]


@pytest.mark.parametrize("threshold", [3.0, 10.0])
@pytest.mark.parametrize("compiled", [True, False])
def test_value_and_two_derivatives_equal_deepmd(
    threshold: float, compiled: bool
) -> None:
    from deepmd.pt.utils.utils import SiLUT, SiLUTScript

    theirs = (SiLUTScript if compiled else SiLUT)(threshold)
    # none at a threshold, where the second derivative jumps
    x = torch.linspace(-15.03, 15.01, 301, dtype=torch.float64).reshape(7, 43).T
    expected = _value_and_derivatives(theirs, x)
    computed = _value_and_derivatives(FusedSiLUT(theirs), x.float())
    for ours, exact in zip(computed, expected, strict=True):
        torch.testing.assert_close(ours.double(), exact, rtol=2e-5, atol=2e-6)
    assert (x >= threshold).any()


def test_float64_is_left_to_deepmd() -> None:
    from deepmd.pt.utils.utils import SiLUT

    x = torch.linspace(-5, 5, 11, dtype=torch.float64)
    assert torch.equal(FusedSiLUT(SiLUT(3.0))(x), SiLUT(3.0)(x))


def test_threads_share_the_numbers_out() -> None:
    from deepmd.pt.utils.utils import SiLUT

    activation = FusedSiLUT(SiLUT(3.0))
    x = torch.linspace(-15, 15, 300_001)
    before = torch.get_num_threads()
    results = []
    try:
        for n_threads in (1, 3):
            torch.set_num_threads(n_threads)
            results.append(_value_and_derivatives(activation, x))
    finally:
        torch.set_num_threads(before)
    for one, three in zip(*results, strict=True):
        assert torch.equal(one, three)


def test_third_derivative_is_refused() -> None:
    from deepmd.pt.utils.utils import SiLUT

    x = torch.tensor([1.0, 5.0], requires_grad=True)
    y = FusedSiLUT(SiLUT(3.0))(x).sum()
    (first,) = torch.autograd.grad(y, x, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        second.sum().backward()


def test_numbers_that_are_not_finite_stay_so() -> None:
    from deepmd.pt.utils.utils import SiLUT

    x = torch.tensor([torch.nan, -torch.inf])
    found = _value_and_derivatives(FusedSiLUT(SiLUT(3.0)), x)
    assert not any(tensor[:2].isfinite().any() for tensor in found[:2])


def test_input_is_not_changed() -> None:
    from deepmd.pt.utils.utils import SiLUT

    x = torch.tensor([1.0, 5.0])
    FusedSiLUT(SiLUT(3.0))(x)
    assert x.tolist() == [1.0, 5.0]
