from __future__ import annotations

from typing import Any

import pytest

from mftscreen.model.backbones.dpa1 import DPA1Parameters
from mftscreen.model.files.allowed import check_parameters

SE_ATTEN: dict[str, Any] = {
    "type": "se_atten", "sel": 20, "rcut": 4.0, "rcut_smth": 3.0, "neuron": [4],
}  # fmt: skip


def test_descriptor_is_allowed() -> None:
    fitting = {"type": "property", "property_name": "gap", "neuron": [8]}
    head = {"type_map": ["H", "O"], "descriptor": SE_ATTEN, "fitting_net": fitting}
    check_parameters({"gap": head})


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"neuron": [6, 12], "axis_neuron": 3, "attn_layer": 0},
        {"sel": [10, 5], "tebd_dim": 4, "attn": 16, "type_one_side": True},
        {"tebd_input_mode": "strip", "smooth_type_embedding": True, "attn_layer": 0},
    ],
)
def test_size_is_no_larger_than_that_of_a_real_one(options: dict[str, Any]) -> None:
    from deepmd.pt.model.descriptor.dpa1 import DescrptDPA1

    settings = {**SE_ATTEN, **options}
    parameters = DPA1Parameters.model_validate(settings)
    del settings["type"]
    real = DescrptDPA1(**settings, ntypes=3, seed=1)
    assert real.get_dim_out() == parameters.width() + real.tebd_dim
    weights = sum(tensor.numel() for tensor in real.state_dict().values())
    assert 0.2 * weights < parameters.least_weights(3) <= weights
