"""What a model file says of a 7net is checked before deepmd-kit sees it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mftscreen.errors import ModelFileError
from mftscreen.model.backbones.sevennet.allowed_parameters import SevenNetParameters
from mftscreen.model.files.allowed import check_parameters

GOOD: dict[str, Any] = {
    "type": "sevennet", "cutoff": 4.5, "cutoff_on": 4.0, "channels": [8, 6, 4],
    "n_layers": 3, "n_basis": 5, "radial_neurons": [8], "divisor": 5.0,
    "output_layers": [1, 2], "sel": 100, "precision": "float32", "seed": 1,
    "trainable": True,
}  # fmt: skip

BAD: list[dict[str, Any]] = [
    {"cutoff": 0.0}, {"cutoff": -1.0}, {"cutoff": float("nan")},
    {"cutoff": float("inf")}, {"cutoff": 1e3}, {"cutoff": "5"}, {"cutoff": None},
    {"cutoff_on": 4.5}, {"cutoff_on": 5.0}, {"cutoff_on": 0.0}, {"cutoff_on": "4"},
    {"channels": []}, {"channels": [0]}, {"channels": [8, -1]}, {"channels": 8},
    {"channels": [8] * 6}, {"channels": [2**20]}, {"channels": [8.0]},
    {"channels": [True]}, {"channels": "8"},
    {"n_layers": 0}, {"n_layers": 65}, {"n_layers": 3.0}, {"n_layers": True},
    {"n_basis": 0}, {"n_basis": 2**20},
    {"radial_neurons": []}, {"radial_neurons": [0]}, {"radial_neurons": [8] * 17},
    {"output_layers": []}, {"output_layers": [3]}, {"output_layers": [-1]},
    {"output_layers": [0, 64]}, {"output_layers": [1.0]}, {"output_layers": [0] * 65},
    {"divisor": 0.0}, {"divisor": -1.0}, {"divisor": float("nan")}, {"divisor": "5"},
    {"sel": 0}, {"sel": 10**6}, {"sel": [100]},
    {"precision": "float16"}, {"precision": "bfloat16"}, {"precision": "int"},
    {"seed": -1}, {"seed": "1"}, {"trainable": 1},
    {"type": "SevenNet"}, {"path": "/etc/passwd"}, {"ntypes": 3},
    {"type_map": ["H"]},
]  # fmt: skip


def _head(**changes: Any) -> dict[str, Any]:
    descriptor = {**GOOD, **changes}
    net = {"type": "ener", "neuron": [4], "precision": "float32"}
    return {
        "pes": {"type_map": ["H", "O"], "descriptor": descriptor, "fitting_net": net}
    }


def test_good_ones_pass() -> None:
    check_parameters(_head())
    check_parameters(_head(cutoff_on=None, seed=[1, 2], precision="float64"))
    check_parameters(_head(channels=[8], n_layers=1, output_layers=[0]))


@pytest.mark.parametrize("changes", BAD, ids=str)
def test_bad_ones_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ModelFileError, match=r"pes\.descriptor"):
        check_parameters(_head(**changes))


@pytest.mark.parametrize(
    "missing", sorted({*GOOD} - {"precision", "seed", "trainable"})
)
def test_nothing_is_made_up(missing: str) -> None:
    heads = _head()
    del heads["pes"]["descriptor"][missing]
    with pytest.raises(ModelFileError, match=r"pes\.descriptor"):
        check_parameters(heads)


_widths = st.lists(st.integers(1, 12), min_size=1, max_size=4)


@settings(max_examples=12)
@given(_widths, st.integers(1, 4), st.integers(1, 9), _widths, st.integers(1, 5))
def test_weights_are_as_many_as_deepmd_builds(
    channels: list[int], n_layers: int, n_basis: int, neurons: list[int], n_types: int
) -> None:
    from mftscreen.model.backbones.sevennet.descriptor import SevenNetDescriptor

    described = {
        **GOOD, "channels": channels, "n_layers": n_layers, "n_basis": n_basis,
        "radial_neurons": neurons, "output_layers": [n_layers - 1, 0],
    }  # fmt: skip
    parameters = SevenNetParameters.model_validate(described)
    built = SevenNetDescriptor(**described, ntypes=n_types, type_map=["H"] * n_types)
    state = built.state_dict()
    assert parameters.least_weights(n_types) == sum(w.numel() for w in state.values())
    assert all(isinstance(w, torch.Tensor) for w in state.values())
    assert parameters.width() == built.get_dim_out()


@pytest.mark.parametrize(
    "changes",
    [
        {"channels": [1, 65_536]},
        {"channels": [1, 1, 1, 1, 65_536]},
        {"channels": [65_536], "n_layers": 1, "output_layers": [0]},
        {"radial_neurons": [65_536, 65_536]},
        {"radial_neurons": [65_536], "channels": [256, 256, 256]},
    ],
    ids=str,
)
def test_a_small_file_does_not_ask_for_gigabytes(changes: dict[str, Any]) -> None:
    with pytest.raises(ModelFileError, match="its weights would take at least"):
        check_parameters(_head(**changes), {"pes": 10_000_000})
