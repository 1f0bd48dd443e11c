from __future__ import annotations

from typing import Any

import pytest

from mftscreen.model.backbones.sevennet.network import Network
from mftscreen.model.backbones.sevennet.shape import Path, Shape

SHAPES: list[dict[str, Any]] = [
    {},
    {"channels": (8,), "n_layers": 1},
    {"channels": (8, 6), "n_layers": 1, "n_basis": 3},
    {"channels": (2, 9, 3), "n_layers": 2, "radial_neurons": (5,)},
    {"channels": (4, 3, 2, 1, 5), "n_layers": 3, "radial_neurons": (5, 6, 7)},
]


@pytest.mark.parametrize("settings", SHAPES)
def test_number_of_weights_is_that_of_a_network(settings: dict[str, Any]) -> None:
    shape = Shape(**settings)
    network = Network(shape, 7)
    assert shape.n_weights(7) == sum(w.numel() for w in network.parameters())


def test_first_layer_starts_from_scalars_and_the_last_ends_there() -> None:
    shape = Shape(channels=(8, 6, 4), n_layers=3)
    assert shape.paths(0) == [Path(0, 0, 0), Path(0, 1, 1), Path(0, 2, 2)]
    assert shape.paths(2) == [Path(0, 0, 0), Path(1, 1, 0), Path(2, 2, 0)]
    assert len(shape.paths(1)) == 15
    assert [list(shape.inputs(k)) for k in range(3)] == [[8], [8, 6, 4], [8, 6, 4]]
    assert shape.gates(0) == shape.gates(1) == [18, 6, 4]
    assert shape.gates(2) == [8]
    assert shape.messages(2) == [18]
    assert shape.radial(2) == [8, 64, 64, 18]
