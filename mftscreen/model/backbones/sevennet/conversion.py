"""From a checkpoint of the package sevenn to one of deepmd-kit; needs sevenn.

The energy read-out of SevenNet is linear: atomic energies are linear in the scalars of
the last layer, with one scale and a shift for each element. So deepmd-kit's energy head
without hidden layers carries it.

Weights are taken as they are, in another order, but for those of the elements and of
the energy head: these have in them what e3nn divides them by when they are used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ase.data import chemical_symbols

from mftscreen.errors import ModelError
from mftscreen.model.backbones.sevennet.network import Network
from mftscreen.model.backbones.sevennet.shape import Path as Coupling
from mftscreen.model.backbones.sevennet.shape import Shape

if TYPE_CHECKING:
    from sevenn.checkpoint import SevenNetCheckpoint

__all__ = ["HEAD", "convert"]

HEAD = "MPtrj"
"""Name of the energy head: the data set that the models were trained on."""

N_OUTPUT_LAYERS = 3
"""The last ones, whose scalars side by side tell more than those of the last alone."""

N_NEIGHBORS = 300
"""Padding for deepmd-kit; lists are cut there. Denser than any solid within 5 Å."""

Weights = Mapping[str, torch.Tensor]


def convert(name: str) -> dict[str, Any]:
    """Return a model that comes with sevenn as the state of deepmd-kit.

    Parameters
    ----------
    name : str
        As sevenn calls it, ``7net-0`` for example.

    Returns
    -------
    dict
        The ``model`` entry of a deepmd-kit checkpoint with one head, :data:`HEAD`,
        whose ``info`` names its origin, licence and citation.

    Raises
    ------
    ModelError
        If sevenn is not installed, or the model is not built as this module expects.
    """
    from deepmd.pt.model.model import get_model

    import mftscreen.model.backbones.sevennet.descriptor  # noqa: F401 - registers it

    source = _open(name)
    with torch.random.fork_rng():  # whose weights are random at first
        # of the model that is built: older files have other orders
        state = source.build_model().state_dict()
    weights: Weights = {key: value.double() for key, value in state.items()}
    shape, elements = _describe(name, source.config, weights)
    parameters: dict[str, Any] = {
        "type_map": elements,
        "descriptor": {
            "type": "sevennet",
            **vars(shape),
            "output_layers": list(range(shape.n_layers))[-N_OUTPUT_LAYERS:],
            "sel": N_NEIGHBORS,
            "precision": "float32",
        },
        "fitting_net": {"type": "ener", "neuron": [], "precision": "float32"},
        "info": _info(name, source),
    }
    with torch.random.fork_rng():
        model = get_model({**parameters, "descriptor": {**parameters["descriptor"]}})
    atomic = model.atomic_model
    rows = [source.config["_type_map"][z] for z in _numbers(elements)]
    with torch.no_grad():
        _fill(atomic.descriptor.network, weights, rows)
        _fill_energies(atomic, weights, rows)
    return {
        **{f"model.{HEAD}.{key}": value for key, value in model.state_dict().items()},
        "_extra_state": {
            "model_params": {"model_dict": {HEAD: parameters}},
            "train_infos": {"lr": 0.0, "step": 0},
        },
    }


def _open(name: str) -> SevenNetCheckpoint:
    try:
        from sevenn.checkpoint import SevenNetCheckpoint
        from sevenn.util import pretrained_name_to_path
    except ImportError as error:
        msg = (
            f"{name} comes with the package sevenn, which is not installed: "
            'pip install "mftscreen[sevenn]"'
        )
        raise ModelError(msg) from error
    try:
        # not sevenn's load_checkpoint, which would unpickle a file of this name in the
        # current folder
        return SevenNetCheckpoint(pretrained_name_to_path(name))
    except (OSError, ValueError) as error:
        msg = f"the sevenn that is installed ({version('sevenn')}) has no {name}"
        raise ModelError(msg) from error


def _describe(
    name: str, config: Mapping[str, Any], weights: Weights
) -> tuple[Shape, list[str]]:
    """Return the shape of a network, and its elements by atomic number."""
    from e3nn.o3 import Irreps

    switch, basis = config["cutoff_function"], config["radial_basis"]
    expected = {
        "self_connection_type": "linear", "is_parity": False, "_normalize_sph": True,
        "interaction_type": "nequip", "use_bias_in_linear": False,
        "readout_as_fcn": False, "act_radial": "silu",
        "act_gate": {"e": "silu", "o": "tanh"},
        "act_scalar": {"e": "silu", "o": "tanh"},
    }  # fmt: skip
    different = [key for key, value in expected.items() if config[key] != value]
    if basis["radial_basis_name"] != "bessel":
        different.append("radial_basis")
    if switch.get("poly_cut_p_value", 6) != 6:
        different.append("cutoff_function")
    layers = [list(Irreps(text)) for text in config["irreps_manual"]]
    channels = [mul for mul, _ in layers[1]]
    n_layers = config["num_convolution_layer"]
    divisors = {float(weights[f"{k}_convolution.denominator"]) for k in range(n_layers)}
    if len(divisors) > 1:
        different.append("conv_denominator")
    if different or any([m for m, _ in own] != channels for own in layers[1:-1]):
        msg = f"{name} is not built as expected: {', '.join(different) or 'layers'}"
        raise ModelError(msg)
    shape = Shape(
        cutoff=float(config["cutoff"]),
        cutoff_on=switch.get("cutoff_on"),
        channels=channels,
        n_layers=n_layers,
        n_basis=basis["bessel_basis_num"],
        radial_neurons=list(config["weight_nn_hidden_neurons"]),
        divisor=divisors.pop(),
    )
    return shape, [chemical_symbols[z] for z in sorted(config["_type_map"])]


def _numbers(elements: Sequence[str]) -> list[int]:
    return [chemical_symbols.index(element) for element in elements]


def _info(name: str, source: SevenNetCheckpoint) -> dict[str, Any]:
    content = Path(source.checkpoint_path).read_bytes()
    return {
        "name": name,
        "origin": f"sevenn {version('sevenn')}",
        "origin_sha256": hashlib.sha256(content).hexdigest(),
        "licence": "MIT",
        "citation": "Y. Park et al., J. Chem. Theory Comput. 20, 4857 (2024), "
        "doi:10.1021/acs.jctc.4c00190",
    }


def _fill(network: Network, weights: Weights, rows: Sequence[int]) -> None:
    """Give the network the weights of sevenn's."""
    shape = network.shape
    embedding = weights["onehot_to_feature_x.linear.weight"]
    embedding = embedding.reshape(-1, shape.channels[0])
    network.embedding.copy_(embedding[list(rows)] / len(embedding) ** 0.5)
    network.frequencies.copy_(weights["edge_embedding.basis_function.coeffs"])
    layers: Sequence[Any] = list(network.layers)
    for number, layer in enumerate(layers):
        for maps, key in [
            (layer.own, "self_connection_intro"),
            (layer.before, "self_interaction_1"),
            (layer.after, "self_interaction_2"),
        ]:
            flat = weights[f"{number}_{key}.linear.weight"]
            parts = torch.split(flat, [own.numel() for own in maps])
            for own, part in zip(maps, parts, strict=True):
                own.copy_(part.reshape(own.shape))
        prefix = f"{number}_convolution.weight_nn.layer"
        radial = [weights[f"{prefix}{k}.weight"] for k in range(len(layer.radial))]
        columns = _columns(shape.paths(number), shape.inputs(number))
        radial[-1] = radial[-1][:, columns]
        for own, theirs in zip(layer.radial, radial, strict=True):
            own.copy_(theirs)


def _columns(paths: Sequence[Coupling], channels: Sequence[int]) -> list[int]:
    """Return where the weights of paths are, which e3nn sorts by their messages."""
    starts, start = {}, 0
    for path in sorted(paths, key=lambda path: path.message):
        starts[path] = start
        start += channels[path.feature]
    ranges = [np.arange(channels[path.feature]) + starts[path] for path in paths]
    return [int(column) for column in np.concatenate(ranges)]


def _fill_energies(atomic: Any, weights: Weights, rows: Sequence[int]) -> None:
    """Give deepmd-kit's energy head the weights of sevenn's read-out."""
    hidden = weights["reduce_input_to_hidden.linear.weight"]
    last = weights["reduce_hidden_to_energy.linear.weight"]
    width = len(hidden) // len(last)
    readout = hidden.reshape(width, -1) @ last / hidden.numel() ** 0.5
    scale = weights["rescale_atomic_energy.scale"]
    if (scale != scale[0]).any():
        msg = "elements have scales of their own, which no linear read-out can carry"
        raise ModelError(msg)
    (net,) = atomic.fitting_net.filter_layers.networks
    (layer,) = net.layers
    # of the last layer alone, which is the last of those side by side
    layer.matrix.zero_()
    layer.matrix[-width:, 0] = readout * scale[0]
    layer.bias.zero_()
    atomic.fitting_net.bias_atom_e.zero_()
    atomic.out_bias.zero_()
    shift = weights["rescale_atomic_energy.shift"]
    atomic.out_bias[0, :, 0] = shift[list(rows)]
    atomic.out_std.fill_(1.0)
