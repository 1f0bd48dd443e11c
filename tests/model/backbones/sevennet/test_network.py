from __future__ import annotations

from typing import Any

import pytest
import torch

from mftscreen.model.backbones.sevennet.convolution import Edges
from mftscreen.model.backbones.sevennet.network import Network
from mftscreen.model.backbones.sevennet.shape import Shape

PAIR = Edges(torch.tensor([0, 1]), torch.tensor([1, 0]), 2)


def _network(**settings: Any) -> Network:
    shape = {"channels": (4, 3, 2), "n_layers": 3, "radial_neurons": (5,), **settings}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Network(Shape(**shape), 2).double()


def _pair(network: Network, distance: float) -> list[torch.Tensor]:
    vectors = torch.tensor([[0.6, 0.0, 0.8], [-0.6, 0.0, -0.8]]).double() * distance
    with torch.no_grad():
        scalars: list[torch.Tensor] = network(torch.tensor([0, 1]), vectors, PAIR)
    return scalars


@pytest.mark.parametrize("cutoff_on", [4.5, None])
def test_the_switch_falls_smoothly_from_1_to_0(cutoff_on: float | None) -> None:
    network = _network(cutoff_on=cutoff_on)
    distances = torch.linspace(0.1, 5.5, 200, dtype=torch.float64, requires_grad=True)
    switch = network._switch(distances)
    (slope,) = torch.autograd.grad(switch.sum(), distances)
    assert (slope <= 1e-12).all()
    ends = torch.tensor([1e-3, 5.0 - 1e-6, 5.0, 5.5], dtype=torch.float64)
    expected = torch.tensor([1.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(network._switch(ends), expected, atol=1e-9, rtol=0)
    if cutoff_on is not None:
        assert (network._switch(distances[distances <= cutoff_on]) == 1).all()


@pytest.mark.parametrize("cutoff_on", [4.5, None])
def test_a_neighbor_leaves_without_a_step(cutoff_on: float | None) -> None:
    network = _network(cutoff_on=cutoff_on)
    near, edge, alone = (_pair(network, r) for r in (2.0, 5.0 - 1e-4, 5.0))
    for layer in range(3):
        torch.testing.assert_close(edge[layer], alone[layer], atol=1e-5, rtol=0)
        assert (near[layer] - alone[layer]).abs().max() > 1e-3


@pytest.mark.parametrize("channels", [(4,), (4, 3), (4, 3, 2, 1)])
@pytest.mark.parametrize("n_layers", [1, 2, 3])
def test_turning_everything_changes_nothing(
    channels: tuple[int, ...], n_layers: int
) -> None:
    network = _network(channels=channels, n_layers=n_layers)
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(12, 3, generator=generator).double()
    centers, others = torch.randint(5, (2, 12), generator=generator)
    types, edges = torch.tensor([0, 1, 0, 1, 0]), Edges(centers, others, 5)
    turn, _ = torch.linalg.qr(torch.randn(3, 3, generator=generator).double())
    with torch.no_grad():
        before = network(types, vectors, edges)
        after = network(types, vectors @ turn.T, edges)
    assert [s.shape for s in before] == [(5, 4)] * n_layers
    for one, other in zip(before, after, strict=True):
        torch.testing.assert_close(one, other, atol=1e-10, rtol=1e-10)


def test_atoms_without_neighbors_know_their_element_alone() -> None:
    nobody = Edges(*torch.zeros(2, 0, dtype=torch.int64), 3)
    network = _network()
    scalars = network(
        torch.tensor([0, 1, 0]), torch.zeros(0, 3, dtype=torch.float64), nobody
    )
    for own in scalars:
        assert torch.isfinite(own).all()
        assert torch.equal(own[0], own[2])
        assert not torch.allclose(own[0], own[1])


def test_no_atoms_at_all() -> None:
    nobody = Edges(*torch.zeros(2, 0, dtype=torch.int64), 0)
    scalars = _network()(
        torch.zeros(0, dtype=torch.int64), torch.zeros(0, 3).double(), nobody
    )
    assert [own.shape for own in scalars] == [(0, 4)] * 3


def test_tables_are_not_part_of_the_weights() -> None:
    network = _network()
    names = {name for name, _ in network.named_parameters()}
    assert set(network.state_dict()) == names
