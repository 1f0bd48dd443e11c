from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from mftscreen.errors import ModelFileError
from mftscreen.model.backbones.dpa4.allowed_parameters import DPA4Parameters
from mftscreen.model.files.allowed import check_parameters
from mftscreen.model.files.checkpoint import model_parameters
from mftscreen.model.files.reading import read_state

# of the published sizes as deepmd-kit's examples have them, but for their width
EXAMPLE = {
    "type": "dpa4", "rcut": 6.0, "channels": 32, "n_radial": 16, "lmax": 2, "mmax": 1,
    "n_blocks": 2, "mixing_layers": 3, "ffn_so3_grid": True, "so3_readout": "mlp",
    "grid_mlp": [False, False, False], "grid_branch": [1, 1, 1], "ffn_blocks": 2,
    "message_node_so3": True,
}  # fmt: skip


def test_all_that_deepmd_knows_is_known_with_its_default() -> None:
    from deepmd.utils.argcheck import descrpt_args_plugin

    theirs = descrpt_args_plugin.get_argument("dpa4").sub_fields
    ours = DPA4Parameters.model_fields
    assert set(ours) - {"type"} == set(theirs)
    defaults = DPA4Parameters(type="dpa4").model_dump()
    for name, argument in theirs.items():
        assert defaults[name] == argument.default, name


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"lmax": 4, "mmax": None, "n_focus": 2, "channels": 16},
        {"l_schedule": [3, 2, 1], "m_schedule": [1, 1, 0], "extra_node_l": 1},
        {"so3_readout": "none", "ffn_so3_grid": False, "grid_branch": 0},
        {"edge_cartesian": True, "message_node_so3": False, "grid_branch": 0},
        {"focus_dim": 8, "ffn_neurons": 48, "readout_layers": 2, "radial_mlp": [24]},
        {"n_blocks": 0, "glu_activation": False, "so3_readout": "none"},
    ],
)
def test_size_is_no_larger_than_that_of_a_real_one(options: dict[str, Any]) -> None:
    from deepmd.pt.model.descriptor.sezm import DescrptSeZM

    said = {**EXAMPLE, **options}
    parameters = DPA4Parameters(**said)
    del said["type"]
    real = DescrptSeZM(ntypes=3, sel=10, seed=1, **said)
    assert real.get_dim_out() == parameters.width()
    weights = sum(weight.numel() for weight in real.parameters())
    assert 0.3 * weights < parameters.least_weights(3) <= weights


def test_what_a_checkpoint_says_is_kept(dpa4_checkpoint: Path) -> None:
    (said, *_) = model_parameters(read_state(dpa4_checkpoint)).values()
    found = DPA4Parameters.model_validate(said["descriptor"]).model_dump()
    assert {name: found[name] for name in said["descriptor"]} == said["descriptor"]


def test_the_old_name_of_a_parameter_is_understood() -> None:
    assert DPA4Parameters(type="SeZM", so2_layers=3).mixing_layers == 3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lmax", 7),
        ("l_schedule", [5, 5, 5, 7]),
        ("extra_node_l", 5),
        ("kmax", 4),
        ("n_blocks", 10**6),
        ("l_schedule", [1] * 40),
        ("channels", 0),
        ("sel", "auto"),
        ("rcut", float("inf")),
        ("node_cartesian", "parity:1000"),
        ("node_cartesian", "os.system"),
        ("activation_function", "os.system"),
        ("sandwich_norm", [True]),
        ("use_spin", [True]),
        ("inner_clamp_r_inner", 0.5),
        ("file", "/etc/passwd"),
        ("use_econf_tebd", True),
    ],
)
def test_what_is_large_or_unknown_is_refused(name: str, value: object) -> None:
    with pytest.raises(ValidationError, match=name if name != "extra_node_l" else "7"):
        DPA4Parameters(**{**EXAMPLE, name: value})


HEAD = {
    "type": "dpa4", "type_map": ["O", "Mg"],
    "descriptor": EXAMPLE,
    "fitting_net": {"type": "dpa4_ener", "neuron": [0], "case_film_embd": False},
    # deepmd-kit writes these, too
    "use_compile": True, "enable_tf32": True, "lora": None, "bridging_method": "None",
}  # fmt: skip


@pytest.mark.parametrize("name", ["dpa4", "DPA4", "sezm", "SeZM"])
def test_all_names_of_the_kind_are_allowed(name: str) -> None:
    head = {**HEAD, "type": name, "descriptor": {**EXAMPLE, "type": name}}
    check_parameters({"Default": head})
    net = {"type": "property", "property_name": "gap", "neuron": [0]}
    check_parameters({"Default": {**head, "fitting_net": net}})
    check_parameters({"Default": {**head, "fitting_net": {"type": "sezm_ener"}}})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"type": "standard"}, "'standard' has no fitting net 'dpa4_ener'"),
        ({"fitting_net": {"type": "ener"}}, "'ener' is not one of those"),
        ({"fitting_net": {"type": "r2", "property_name": "r"}}, "no fitting net 'r2'"),
        ({"lora": {"rank": 4}}, "lora"),
        ({"spin": {"use_spin": [True, False]}}, "spin"),
        ({"bridging_method": "ZBL"}, "bridging_method"),
        ({"fitting_net": {"type": "dpa4_ener", "neuron": [10**5]}}, "neuron"),
    ],
)
def test_other_models_with_such_a_descriptor_are_refused(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ModelFileError, match=message):
        check_parameters({"Default": {**HEAD, **changes}})


def test_size_must_be_backed_by_weights() -> None:
    check_parameters({"Default": HEAD}, {"Default": 10**7})
    with pytest.raises(ModelFileError, match="weights would take at least"):
        check_parameters({"Default": HEAD}, {"Default": 10**6})
