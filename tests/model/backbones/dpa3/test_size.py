from __future__ import annotations

import pytest

from mftscreen.model.backbones.dpa3.size import DPA3Size


@pytest.mark.parametrize("edge_input", ["distance", "inverse_distance"])
def test_size_of_a_descriptor_is_found_again(edge_input: str) -> None:
    size = DPA3Size(n_layers=4, edge_scale=22, angle_scale=5, e_dim=24)
    size = size.model_copy(update={"edge_input": edge_input})
    found = DPA3Size.of(size.parameters((110, 20), seed=1))
    assert found.model_copy(update={"edge_scale": 22.0, "angle_scale": 5.0}) == size
    assert found.edge_scale == pytest.approx(22, rel=0.02)
    assert found.angle_scale == pytest.approx(5, rel=0.02)
