"""The paper's settings as presets: Table 8 of arXiv:2601.08486.

A configuration with ``preset: qm9`` or ``preset: matbench`` takes every key that it
does not give itself from the column of that name. Heads have three layers of 240
neurons (section D.2). ``scratch`` gets the descriptor of DPA-3.1-3M: 16 layers of width
128 with cutoffs of 6 and 4 Å, whose sums over neighbours are divided by 120 and 30.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal

from mftscreen.model.backbones.sizes import descriptor_kind

__all__ = ["Preset", "apply_preset"]

Preset = Literal["qm9", "matbench"]

_TRAINING = {"steps": 100_000, "batch_size": 512, "learning_rate": [1e-3, 1e-5]}
_FORCE_FIELD = {"kind": "mse", "energy": [0.2, 20.0], "force": [100.0, 60.0]}
_DESCRIPTOR = {
    "n_layers": 16,
    "n_dim": 128,
    "e_dim": 64,
    "a_dim": 32,
    "edge_cutoff": 6.0,
    "angle_cutoff": 4.0,
    "edge_scale": 120.0,
    "angle_scale": 30.0,
    "update_residual": 0.1,
}
_LOSSES = {"qm9": "mse", "matbench": "smooth_mae"}
_MFT: dict[str, dict[str, Any]] = {
    "qm9": {
        "training": {**_TRAINING, "n_gpus": 2},
        "auxiliary": {
            "head": "SPICE2",
            "batch_size": 128,
            "loss": {**_FORCE_FIELD, "virial": [0.0, 0.0]},  # SPICE2 has no virials
        },
    },
    "matbench": {
        "training": {**_TRAINING, "steps": 200_000},
        "auxiliary": {
            "head": "Omat24",  # as DPA-3.1-3M spells it; OMat24 in the paper
            "batch_size": 128,
            "loss": {**_FORCE_FIELD, "virial": [0.02, 1.0]},
        },
    },
}


def apply_preset(document: Mapping[str, Any], keys: Collection[str]) -> dict[str, Any]:
    """Return a configuration with what its preset says where it says nothing itself.

    Parameters
    ----------
    document : mapping
        As read from YAML. Not changed.
    keys : collection of str
        Those that the configuration's strategy has.

    Returns
    -------
    dict

    Examples
    --------
    >>> document = {"preset": "matbench", "training": {"seed": 7}}
    >>> apply_preset(document, ["training", "auxiliary"])["training"]["steps"]
    200000
    >>> document = {"preset": "qm9", "properties": {"gap": {}}}
    >>> apply_preset(document, ["training", "properties"])["properties"]["gap"]["loss"]
    'mse'
    """
    preset = document.get("preset")
    if not isinstance(preset, str) or preset not in _LOSSES:
        return dict(document)
    defaults: dict[str, Any] = {"training": _TRAINING}
    if "auxiliary" in keys:
        defaults = _MFT[preset]
    elif (
        "descriptor" in keys
        and descriptor_kind(document.get("descriptor", {})) == "dpa3"
    ):
        defaults = {"training": _TRAINING, "descriptor": _DESCRIPTOR}
    properties = document.get("properties")
    if isinstance(properties, Mapping):
        head = {"loss": _LOSSES[preset], "neurons": [240, 240, 240]}
        defaults = {**defaults, "properties": dict.fromkeys(properties, head)}
    known = {key: value for key, value in defaults.items() if key in keys}
    merged = _merge(known, document)
    if isinstance(several := document.get("auxiliary"), list) and "auxiliary" in known:
        merged["auxiliary"] = [
            _merge(known["auxiliary"], one) if isinstance(one, Mapping) else one
            for one in several
        ]
    return merged


def _merge(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**defaults, **given}
    for key in defaults.keys() & given.keys():
        if isinstance(defaults[key], Mapping) and isinstance(given[key], Mapping):
            merged[key] = _merge(defaults[key], given[key])
    return merged
