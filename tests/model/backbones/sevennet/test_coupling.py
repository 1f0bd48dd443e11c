from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from mftscreen.model.backbones.sevennet.coupling import coupling, spherical_harmonics

TRIPLES = [
    (l1, l2, l3)
    for l1, l2 in itertools.product(range(4), repeat=2)
    for l3 in range(abs(l1 - l2), min(l1 + l2, 3) + 1)
]


def _directions(n: int = 20) -> torch.Tensor:
    vectors = torch.randn(n, 3, generator=torch.Generator().manual_seed(0)).double()
    axes = torch.eye(3, dtype=torch.float64)
    return torch.cat([vectors / vectors.norm(dim=1, keepdim=True), axes, -axes])


def test_couplings_are_those_of_e3nn() -> None:
    o3 = pytest.importorskip("e3nn.o3")
    for triple in TRIPLES:
        theirs = o3.wigner_3j(*triple, dtype=torch.float64).numpy()
        np.testing.assert_allclose(coupling(*triple), theirs, atol=1e-9)


def test_harmonics_are_those_of_e3nn() -> None:
    o3 = pytest.importorskip("e3nn.o3")
    directions = _directions()
    theirs = o3.spherical_harmonics(
        [0, 1, 2, 3, 4], directions, normalize=False, normalization="component"
    )
    ours = spherical_harmonics(directions, 4)
    np.testing.assert_allclose(ours, theirs, atol=1e-9)


@pytest.mark.parametrize("l_max", [0, 1, 2, 4])
def test_norms_of_harmonics(l_max: int) -> None:
    found = spherical_harmonics(_directions(), l_max)
    assert found.shape == (26, (l_max + 1) ** 2)
    for momentum in range(l_max + 1):
        own = found[:, momentum**2 : (momentum + 1) ** 2]
        norms = own.square().sum(dim=1)
        np.testing.assert_allclose(norms, 2 * momentum + 1, rtol=1e-9)


@pytest.mark.parametrize("triple", TRIPLES)
def test_couplings_do_not_depend_on_axes(triple: tuple[int, int, int]) -> None:
    """Harmonics of turned directions are coupled to turned ones."""
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_rotvec([0.3, -1.1, 0.7]).as_matrix()
    near = _directions()
    turned = near @ torch.tensor(turn).T

    def matrix(momentum: int) -> np.ndarray:
        rows = slice(momentum**2, (momentum + 1) ** 2)
        before, after = (spherical_harmonics(d, 3)[:, rows] for d in (near, turned))
        return np.linalg.lstsq(before.numpy(), after.numpy(), rcond=None)[0]

    first, second, third = (matrix(momentum) for momentum in triple)
    table = coupling(*triple)
    assert np.linalg.norm(table) == pytest.approx(1)
    again = np.einsum("abc,ai,bj,ck->ijk", table, first, second, third)
    np.testing.assert_allclose(again, table, atol=1e-9)


def test_no_edges_have_no_harmonics() -> None:
    assert spherical_harmonics(torch.zeros(0, 3), 2).shape == (0, 9)
