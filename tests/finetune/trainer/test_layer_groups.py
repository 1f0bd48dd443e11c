from __future__ import annotations

import torch

from mftscreen.finetune.trainer.layer_groups import layer_groups
from mftscreen.model.backbones.seam import Architecture

# from the heads down
NAMES = [
    ["model.gap.atomic_model.fitting_net.filter_layers.0.w", "model.out_bias"],
    ["model.gap.atomic_model.descriptor.repflows.layers.10.node_self_mlp.matrix"],
    ["model.gap.atomic_model.descriptor.repflows.layers.2.node_self_mlp.matrix"],
    [
        "model.gap.atomic_model.descriptor.type_embedding.embedding.layers.0.matrix",
        "model.gap.atomic_model.descriptor.repflows.edge_embd.matrix",
    ],
]


def test_each_layer_is_scaled_by_one_factor_more_than_that_above() -> None:
    parameters = {name: torch.nn.Parameter(torch.zeros(1)) for g in NAMES for name in g}
    groups = layer_groups(reversed(parameters.items()), 0.5, Architecture().layer)
    # the heads learn at the full rate
    assert [group["layer_scale"] for group in groups] == [1.0, 0.5, 0.25, 0.125]
    for group, names in zip(groups, NAMES, strict=True):
        assert {id(p) for p in group["params"]} == {id(parameters[n]) for n in names}


def test_absent_layers_take_no_factor() -> None:
    parameters = {n: torch.nn.Parameter(torch.zeros(1)) for n in (*NAMES[0], *NAMES[3])}
    groups = layer_groups(parameters.items(), 0.5, Architecture().layer)
    assert [group["layer_scale"] for group in groups] == [1.0, 0.5]
