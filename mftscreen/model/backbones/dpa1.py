"""DPA-1 (arXiv:2208.08236): a gated attention; evaluated by deepmd-kit alone."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field

from mftscreen.model.backbones.seam import Architecture
from mftscreen.model.files.parameters import (
    Activation,
    DescriptorParameters,
    Length,
    Neighbors,
    Number,
    Small,
    Width,
)

__all__ = ["DPA1", "DPA1Parameters"]


class DPA1Parameters(DescriptorParameters):
    """Parameters of the descriptor; defaults are deepmd-kit's."""

    type: Literal["se_atten", "dpa1"]
    rcut: Length
    rcut_smth: Length
    sel: Neighbors | list[Neighbors]
    neuron: list[Width] = Field(default=[25, 50, 100], min_length=1, max_length=64)
    axis_neuron: Annotated[int, Field(ge=1, le=1024)] = 16
    tebd_dim: Width = 8
    tebd_input_mode: Literal["concat", "strip"] = "concat"
    set_davg_zero: bool = True
    attn: Width = 128
    attn_layer: Small = 2
    attn_dotr: bool = True
    attn_mask: bool = False
    activation_function: Activation = "tanh"
    resnet_dt: bool = False
    scaling_factor: Number = 1.0
    normalize: bool = True
    temperature: Number | None = None
    trainable_ln: bool = True
    ln_eps: Number | None = 1e-5
    smooth_type_embedding: bool = True
    type_one_side: bool = False
    stripped_type_embedding: bool | None = None
    lmax: Annotated[int, Field(ge=1, le=8)] = 1
    env_protection: Number = 0.0
    use_econf_tebd: bool = False
    use_tebd_bias: bool = False
    concat_output_tebd: bool = True

    def width(self) -> int:
        """Return the width of atomic features."""
        return self.neuron[-1] * self.axis_neuron

    def least_weights(self, n_types: int) -> int:
        """Return how many weights its embedding, attention and statistics have."""
        embedding = sum(a * b for a, b in pairwise([1, *self.neuron]))
        attention = self.attn_layer * self.attn * self.neuron[-1]
        n_neighbors = sum(self.sel) if isinstance(self.sel, list) else self.sel
        return embedding + attention + n_types * (self.tebd_dim + 8 * n_neighbors)


class DPA1(Architecture):
    """deepmd-kit's ``se_atten``."""

    kind = "se_atten"
    aliases = ("dpa1",)
    allowed = DPA1Parameters
