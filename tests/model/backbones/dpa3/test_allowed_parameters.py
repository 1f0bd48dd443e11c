from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mftscreen.model.backbones.dpa3.allowed_parameters import DPA3Parameters
from mftscreen.model.files.checkpoint import model_parameters
from mftscreen.model.files.reading import read_state

REPFLOW = {
    "n_dim": 8, "e_dim": 6, "a_dim": 4, "axis_neuron": 2, "e_sel": 30, "a_sel": 5,
    "n_multi_edge_message": 1, "nlayers": 2,
}  # fmt: skip


@pytest.mark.parametrize(
    "options",
    [{}, {"nlayers": 3, "n_multi_edge_message": 2}, {"update_angle": False}],
)
def test_size_is_no_larger_than_that_of_a_real_one(options: dict[str, Any]) -> None:
    from deepmd.dpmodel.descriptor.dpa3 import RepFlowArgs
    from deepmd.pt.model.descriptor.dpa3 import DescrptDPA3

    repflow = {**REPFLOW, **options}
    parameters = DPA3Parameters(type="dpa3", repflow=repflow)
    real = DescrptDPA3(ntypes=3, repflow=RepFlowArgs(**repflow), seed=1)
    assert real.get_dim_out() == parameters.width()
    weights = sum(tensor.numel() for tensor in real.state_dict().values())
    assert 0.3 * weights < parameters.least_weights(3) <= weights


def test_what_a_checkpoint_says_is_kept(checkpoint: Path) -> None:
    (said, *_) = model_parameters(read_state(checkpoint)).values()
    parameters = DPA3Parameters.model_validate(said["descriptor"])
    found = parameters.model_dump()
    for key, value in said["descriptor"]["repflow"].items():
        assert found["repflow"][key] == value
    assert found["precision"] == "float64"
