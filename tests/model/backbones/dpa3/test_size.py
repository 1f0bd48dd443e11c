from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from mftscreen.model.backbones.dpa3.allowed_parameters import DPA3Parameters
from mftscreen.model.backbones.dpa3.size import DPA3Size


@pytest.mark.parametrize("edge_input", ["distance", "inverse_distance"])
def test_size_of_a_descriptor_is_found_again(edge_input: str) -> None:
    size = DPA3Size(n_layers=4, edge_scale=22, angle_scale=5, e_dim=24)
    size = size.model_copy(update={"edge_input": edge_input})
    found = DPA3Size.of(size.parameters((110, 20), seed=1))
    assert found.model_copy(update={"edge_scale": 22.0, "angle_scale": 5.0}) == size
    assert found.edge_scale == pytest.approx(22, rel=0.02)
    assert found.angle_scale == pytest.approx(5, rel=0.02)


@pytest.mark.parametrize(
    "size",
    [
        {},
        {"edge_cutoff": 0.71, "angle_cutoff": 0.51, "edge_scale": 2e4},
        {"edge_cutoff": 50.0, "angle_cutoff": 50.0, "n_layers": 256, "n_dim": 65_536},
        {"n_dim": 4, "e_dim": 4, "a_dim": 4},
    ],
)
def test_what_it_makes_is_what_a_file_may_say(size: dict[str, Any]) -> None:
    DPA3Parameters.model_validate(DPA3Size(**size).parameters((0, 0), seed=1))


@pytest.mark.parametrize(
    ("size", "reason"),
    [
        ({"n_layers": 257}, "n_layers"),
        ({"n_dim": 65_537}, "n_dim"),
        ({"edge_cutoff": 0.7}, "edge_cutoff"),
        ({"angle_cutoff": 0.5}, "angle_cutoff"),
        ({"edge_scale": 20_001.0}, "edge_scale"),
        ({"update_residual": float("inf")}, "update_residual"),
        ({"n_dim": 3, "a_dim": 2}, "n_dim: 3 is less than 4"),
        ({"e_dim": 14}, "e_dim: 14 is less than 16: a_dim, or 4"),
        ({"a_dim": 15}, "a_dim: 15 is not even"),
        ({"angle_cutoff": 5.5}, "angle_cutoff: 5.5 Å is beyond the edge cutoff, 5 Å"),
    ],
)
def test_sizes_that_no_file_may_have(size: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        DPA3Size(**size)
