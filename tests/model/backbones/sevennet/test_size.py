from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from mftscreen.model.backbones import find_architecture
from mftscreen.model.backbones.seam import EdgeCutoffs
from mftscreen.model.backbones.sevennet.size import SevenNetSize
from mftscreen.model.backbones.sizes import DescriptorSize
from mftscreen.model.files.allowed import check_parameters


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"cutoff": 4.0, "cutoff_on": None, "channels": [8]},
        {"n_layers": 1, "output_layers": [0]},
    ],
)
def test_size_of_a_descriptor_is_found_again(settings: dict[str, Any]) -> None:
    size = SevenNetSize(**settings)
    parameters = size.parameters((70, 70), seed=3)
    assert (parameters["sel"], parameters["seed"]) == (70, 3)
    assert SevenNetSize.of(parameters) == size
    assert find_architecture(parameters).size(parameters) == size
    assert find_architecture(parameters).cutoffs(parameters) == size.cutoffs
    assert size.cutoffs == EdgeCutoffs(size.cutoff, size.cutoff)


def test_what_it_makes_is_what_a_file_may_say() -> None:
    size = SevenNetSize()
    head = {
        "type_map": ["H"],
        "descriptor": size.parameters((0, 0), seed=1),
        "fitting_net": size.energy_net(1),
    }
    check_parameters({"pes": head})
    assert head["descriptor"]["sel"] == 1


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"cutoff": 4.0}, r"cutoff_on: 4\.5 Å is not below the cutoff, 4 Å"),
        ({"n_layers": 3}, r"output_layers: \[2, 3, 4\] are not all layers from 0 to 2"),
        ({"output_layers": [-1]}, "output_layers"),
        ({"output_layers": []}, "output_layers"),
        ({"channels": []}, "channels"),
        ({"channels": [8] * 6}, "channels"),
        ({"n_layers": 0}, "n_layers"),
        ({"cutoff": float("inf")}, "cutoff"),
        ({"n_layers": 70}, "n_layers"),
        ({"divisor": 100.0}, "divisor"),
        ({"output_layers": [70]}, "output_layers"),
        ({"radial_neurons": [64] * 17}, "radial_neurons"),
        ({"n_basis": 2000}, "n_basis"),
        ({"lmax": 2}, "lmax"),
    ],
)
def test_sizes_that_there_are_not(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        TypeAdapter(DescriptorSize).validate_python({"type": "sevennet", **settings})
