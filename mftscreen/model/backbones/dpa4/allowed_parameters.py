"""What a model file may say of a DPA4 descriptor."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal, TypeVar

from pydantic import AliasChoices, Field, model_validator

from mftscreen.model.files.parameters import (
    Activation,
    Allowed,
    DescriptorParameters,
    Length,
    Neighbors,
    Number,
    Precision,
    Width,
)

__all__ = ["DPA4Parameters", "DPA4Shape"]

MAX_DEGREE = 6
"""Of spherical harmonics, of which deepmd-kit computes tables of any size."""

_Degree = Annotated[int, Field(ge=0, le=MAX_DEGREE)]
_Order = Annotated[int, Field(ge=0, le=3)]
_Blocks = Annotated[int, Field(ge=0, le=32)]
_Layers = Annotated[int, Field(ge=0, le=64)]
_Ranks = Annotated[int, Field(ge=0, le=64)]
_AutoWidth = Annotated[int, Field(ge=0, le=65_536)]
_Exponent = Annotated[int, Field(ge=1, le=100)]
_Attention = Literal["none", "independent", "dependent"]
_T = TypeVar("_T")
_Two = Annotated[list[_T], Field(min_length=2, max_length=2)]
_Three = Annotated[list[_T], Field(min_length=3, max_length=3)]
_NodeProduct = Annotated[str, Field(pattern=r"^(none|((default|parity):)?\d{1,2})$")]


class DPA4Shape(Allowed):
    """Parameters of the network; defaults are deepmd-kit's."""

    rcut: Length = 6.0
    env_exp: list[_Exponent] = Field(default=[7, 5], min_length=2, max_length=2)
    channels: Width = 64
    basis_type: Literal["bessel", "gaussian"] = "bessel"
    n_radial: Width = 16
    radial_mlp: list[_AutoWidth] = Field(default=[0], max_length=16)
    edge_norm: bool = True
    use_env_seed: bool = True
    random_gamma: bool = True
    edge_cartesian: bool = False
    node_cartesian: _NodeProduct | _Layers = "none"
    lmax: _Degree = 3
    l_schedule: Annotated[list[_Degree], Field(max_length=32)] | None = None
    mmax: _Degree | None = 1
    kmax: _Order = 1
    m_schedule: Annotated[list[_Degree], Field(max_length=32)] | None = None
    extra_node_l: _Degree = 0
    n_blocks: _Blocks = 3
    so2_norm: bool = False
    mixing_layers: _Layers = Field(
        default=4, validation_alias=AliasChoices("mixing_layers", "so2_layers")
    )
    so2_attn_res: _Attention = "none"
    radial_so2_mode: Literal["none", "degree", "degree_channel"] = "degree_channel"
    radial_so2_rank: _Ranks = 1
    n_focus: Annotated[int, Field(ge=1, le=64)] = 1
    focus_dim: _AutoWidth = 0
    n_atten_head: Annotated[int, Field(ge=0, le=1024)] = 1
    atten_f_mix: bool = False
    atten_v_proj: bool = False
    atten_o_proj: bool = False
    ffn_neurons: _AutoWidth = 0
    grid_mlp: bool | _Three[bool] = False
    grid_branch: _Ranks | _Three[_Ranks] = 0
    ffn_blocks: Annotated[int, Field(ge=1, le=16)] = 1
    sandwich_norm: list[bool] = Field(
        default=[False, True, True, False], min_length=4, max_length=4
    )
    mlp_bias: bool = False
    layer_scale: bool = False
    full_attn_res: _Attention = "none"
    block_attn_res: _Attention = "none"
    s2_activation: list[bool] = Field(default=[False, True], min_length=2, max_length=2)
    ffn_so3_grid: bool = False
    node_wise_s2: bool = False
    node_wise_so3: bool = False
    message_node_s2: bool = False
    message_node_so3: bool = False
    so3_readout: Literal["none", "glu", "mlp"] = "none"
    readout_layers: Annotated[int, Field(ge=1, le=16)] = 1
    lebedev_quadrature: bool | _Two[bool] | None = True
    glu_activation: bool = True
    use_amp: bool = True
    activation_function: Activation = "silu"
    precision: Precision = "float32"
    eps: Number = 1e-7
    add_chg_spin_ebd: bool = False
    default_chg_spin: _Two[Number] | None = None

    @model_validator(mode="after")
    def _tables_are_small(self) -> DPA4Shape:
        highest = max(self.degrees, default=self.lmax) + self.extra_node_l
        if highest > MAX_DEGREE:
            msg = f"its atoms have features of degree {highest} > {MAX_DEGREE}"
            raise ValueError(msg)
        return self

    @property
    def degrees(self) -> list[int]:
        """Degree of the messages of each block."""
        if self.l_schedule is None:
            return [self.lmax] * self.n_blocks
        return self.l_schedule

    @property
    def orders(self) -> list[int]:
        """Largest order of the messages of each block."""
        if self.m_schedule is not None:
            return self.m_schedule
        return [d if self.mmax is None else min(self.mmax, d) for d in self.degrees]

    def width(self) -> int:
        """Return the width of atomic features."""
        return self.channels

    def least_weights(self, n_types: int) -> int:
        """Return how many weights its maps of radii, messages and atoms have."""
        first = max(self.degrees, default=self.lmax) + self.extra_node_l
        hidden = [width or self.channels for width in self.radial_mlp]
        radial = [self.n_radial, *hidden, (first + 1) * self.channels]
        blocks = sum(map(self._block, self.degrees, self.orders))
        last = min(self.degrees, default=self.lmax) + self.extra_node_l
        grid = self.so3_readout != "none"
        read_out = self._atom_map(last if grid else 0, grid and self.glu_activation)
        types = n_types * self.channels
        radii = sum(a * b for a, b in pairwise(radial))
        return types + radii + blocks + self.readout_layers * read_out

    def _block(self, degree: int, order: int) -> int:
        """Return how many weights a block has at the least."""
        width = self.focus_dim or self.channels
        weights = 2 * (degree + 1) * self.channels * self.n_focus * width
        if not (self.edge_cartesian and degree in (1, 2)):
            rows = [(degree + 1 - m) * width for m in range(order + 1)]
            layer = sum((1 if m == 0 else 2) * n * n for m, n in enumerate(rows))
            weights += self.mixing_layers * self.n_focus * layer
        atoms = self._atom_map(degree + self.extra_node_l, self.ffn_so3_grid)
        return weights + self.ffn_blocks * atoms

    def _atom_map(self, degree: int, gated_grid: bool) -> int:
        """Return how many weights a net of atomic features has at the least."""
        # deepmd-kit's width where none is given, if not wider
        hidden = self.ffn_neurons or 32 * -(-8 * self.channels // 96)
        n_maps = 3 * (2 * min(self.kmax, degree) + 1) if gated_grid else 2
        return n_maps * (degree + 1) * self.channels * hidden


class DPA4Parameters(DPA4Shape, DescriptorParameters):
    """Parameters of the descriptor; defaults are deepmd-kit's."""

    type: Literal["dpa4", "DPA4", "sezm", "SeZM"]
    sel: Neighbors | list[Neighbors] = 256
