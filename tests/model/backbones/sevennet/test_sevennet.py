from __future__ import annotations

import re
from pathlib import Path

import pytest

from mftscreen.errors import UnsupportedByBackboneError
from mftscreen.model.backbones import converted_models, find_architecture
from mftscreen.model.backbones.sevennet import SevenNet
from mftscreen.model.files.checkpoint import model_parameters
from mftscreen.model.files.reading import read_state
from mftscreen.model.network.backend import DeepmdNetwork
from mftscreen.testing import check_backbone


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["small", "small_single"])
def test_it_keeps_the_rules_of_all(
    precision: str, request: pytest.FixtureRequest
) -> None:
    check_backbone(request.getfixturevalue(precision))


def test_layers_of_weights(small: Path) -> None:
    state = read_state(small)
    (parameters,) = model_parameters(state).values()
    architecture = find_architecture(parameters["descriptor"])
    assert isinstance(architecture, SevenNet)
    layers = {
        weight: architecture.layer(weight)
        for weight in state
        if ".descriptor" in weight
    }
    assert set(layers.values()) == {-1, 0, 1, 2}
    below = {weight for weight, layer in layers.items() if layer < 0}
    prefix = "model.pes.atomic_model.descriptor.network."
    assert below == {f"{prefix}embedding", f"{prefix}frequencies"}
    for weight in set(layers) - below:
        # the first number is the layer's, others are of what is in it
        assert re.findall(r"\.(\d+)\.", weight)[0] == str(layers[weight])


def test_padding_is_all_that_data_change(small: Path) -> None:
    state = read_state(small)
    (parameters,) = model_parameters(state).values()
    descriptor = parameters["descriptor"]
    architecture = SevenNet()
    fitted = architecture.fit_parameters(descriptor, (40, 10))
    assert fitted == {**descriptor, "sel": 40}
    assert architecture.fit_parameters(descriptor, (0, 0))["sel"] == 1
    assert descriptor["sel"] == 100
    fitted["channels"].append(3)
    assert descriptor["channels"] == [8, 6, 4]
    assert architecture.fit_state(state, fitted) == state


def test_it_has_no_edges_to_look_at(small: Path) -> None:
    network = DeepmdNetwork.from_checkpoint(small)
    with pytest.raises(UnsupportedByBackboneError, match=r"sevennet.*edge features"):
        network.edge_cutoffs()


def test_no_neighbor_is_left_out(small: Path) -> None:
    network = DeepmdNetwork.from_checkpoint(small)
    assert SevenNet().neighbor_budget(network.descriptor).fixed is None


def test_names_of_what_comes_with_sevenn() -> None:
    found = {n for n, kind in converted_models().items() if kind is SevenNet}
    assert found == {"7net-0", "7net-l3i5"}
    assert SevenNet.package == "sevenn"
