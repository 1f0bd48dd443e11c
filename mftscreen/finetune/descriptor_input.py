"""The descriptor of deepmd-kit's training input."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

from mftscreen.finetune.settings import DescriptorConfig

__all__ = ["SILUT", "fit_budget", "new_descriptor"]

SILUT = "silut:3.0"
"""Eq. 18 of arXiv:2601.08486, with the threshold of Table 8."""


def new_descriptor(
    size: DescriptorConfig, neighbors: tuple[int, int], seed: int
) -> dict[str, Any]:
    """Return a descriptor with random weights.

    Parameters
    ----------
    size : DescriptorConfig
    neighbors : tuple of int
        Most neighbours of an atom within the edge and within the angle cutoff.
    seed : int

    Returns
    -------
    dict
    """
    # deepmd divides sums over edges by e_sel / sel_reduce_factor and those over
    # angles by a_sel / sel_reduce_factor: choose e_sel and a_sel in the ratio of the
    # two scales, large enough for the data
    factor = max(neighbors[0] / size.edge_scale, neighbors[1] / size.angle_scale, 1.0)
    factor = float(-(-factor // 1))
    return {
        "type": "dpa3",
        "repflow": {
            "n_dim": size.n_dim,
            "e_dim": size.e_dim,
            "a_dim": size.a_dim,
            "nlayers": size.n_layers,
            "e_rcut": size.edge_cutoff,
            "e_rcut_smth": round(size.edge_cutoff - 0.7, 6),
            "e_sel": round(size.edge_scale * factor),
            "a_rcut": size.angle_cutoff,
            "a_rcut_smth": round(size.angle_cutoff - 0.5, 6),
            "a_sel": round(size.angle_scale * factor),
            "sel_reduce_factor": factor,
            "axis_neuron": 4,
            "fix_stat_std": 0.3,
            "a_compress_rate": 1,
            "a_compress_e_rate": 2,
            "a_compress_use_split": True,
            "update_angle": True,
            "smooth_edge_update": True,
            "edge_init_use_dist": size.edge_input == "distance",
            "use_exp_switch": True,
            "update_style": "res_residual",
            "update_residual": size.update_residual,
            "update_residual_init": "const",
            "use_dynamic_sel": True,
        },
        "activation_function": SILUT,
        "use_tebd_bias": False,
        "precision": "float32",
        "concat_output_tebd": False,
        "seed": seed,
    }


def fit_budget(
    descriptor: Mapping[str, Any], neighbors: tuple[int, int]
) -> dict[str, Any]:
    """Return the descriptor with padding for the data at hand.

    With ``use_dynamic_sel`` only the ratios of ``e_sel`` and ``a_sel`` to
    ``sel_reduce_factor`` enter the numbers, so all three can shrink or grow together.

    Parameters
    ----------
    descriptor : mapping
        deepmd-kit's parameters of a pretrained one.
    neighbors : tuple of int
        Most neighbours of an atom within the edge and within the angle cutoff.

    Returns
    -------
    dict

    Examples
    --------
    >>> repflow = {"e_sel": 1200, "a_sel": 300, "sel_reduce_factor": 10.0}
    >>> pretrained = {"repflow": {**repflow, "use_dynamic_sel": True}}
    >>> fit_budget(pretrained, (60, 30))["repflow"]["e_sel"]
    120
    """
    resized: dict[str, Any] = copy.deepcopy(dict(descriptor))
    repflow = resized.get("repflow", {})
    if not repflow.get("use_dynamic_sel", False):
        return resized
    edge, angle = int(repflow["e_sel"]), int(repflow["a_sel"])
    factor = max(neighbors[0] / edge, neighbors[1] / angle)
    reduced = float(repflow["sel_reduce_factor"])
    # the smallest whole numbers that are large enough and in the exact ratio
    divisor = math.gcd(edge, angle)
    steps = max(1, math.ceil(factor * divisor))
    repflow["e_sel"] = edge // divisor * steps
    repflow["a_sel"] = angle // divisor * steps
    repflow["sel_reduce_factor"] = reduced * steps / divisor
    return resized
