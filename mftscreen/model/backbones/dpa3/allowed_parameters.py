"""What a model file may say of a DPA3 descriptor."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from mftscreen.model.files.parameters import (
    Allowed,
    DescriptorParameters,
    Layers,
    Length,
    Neighbors,
    Number,
    Small,
    Width,
)

__all__ = ["DPA3Parameters"]


class _Repflow(Allowed):
    """The layers of DPA3; defaults are deepmd-kit's."""

    n_dim: Width = 128
    e_dim: Width = 64
    a_dim: Width = 64
    nlayers: Layers = 6
    e_rcut: Length = 6.0
    e_rcut_smth: Length = 5.0
    e_sel: Neighbors = 120
    a_rcut: Length = 4.0
    a_rcut_smth: Length = 3.5
    a_sel: Neighbors = 20
    a_compress_rate: Small = 0
    a_compress_e_rate: Annotated[int, Field(ge=1, le=1024)] = 1
    a_compress_use_split: bool = False
    n_multi_edge_message: Annotated[int, Field(ge=1, le=64)] = 1
    axis_neuron: Annotated[int, Field(ge=1, le=1024)] = 4
    update_angle: bool = True
    update_style: Literal["res_avg", "res_incr", "res_residual"] = "res_residual"
    update_residual: Number = 0.1
    update_residual_init: Literal["norm", "const"] = "const"
    fix_stat_std: Number = 0.3
    skip_stat: bool = False
    optim_update: bool = True
    smooth_edge_update: bool = False
    edge_init_use_dist: bool = False
    use_exp_switch: bool = False
    use_dynamic_sel: bool = False
    sel_reduce_factor: Annotated[float, Field(gt=0.0, le=1e6)] = 10.0
    sequential_update: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> _Repflow:
        if not (self.e_rcut_smth < self.e_rcut and self.a_rcut_smth < self.a_rcut):
            msg = "a switching function ends before it begins"
            raise ValueError(msg)
        if self.a_rcut > self.e_rcut:
            msg = "angles reach further than edges"
            raise ValueError(msg)
        return self


class DPA3Parameters(DescriptorParameters):
    """Parameters of the descriptor; defaults are deepmd-kit's."""

    type: Literal["dpa3"]
    repflow: _Repflow
    env_protection: Number = 0.0
    use_econf_tebd: bool = False
    use_tebd_bias: bool = False
    concat_output_tebd: bool = False
    use_loc_mapping: bool = True
    add_chg_spin_ebd: bool = False
    default_chg_spin: list[Number] | None = None

    def width(self) -> int:
        """Return the width of atomic features."""
        return self.repflow.n_dim

    def least_weights(self, n_types: int) -> int:
        """Return how many weights its layers and its statistics have."""
        flow = self.repflow
        n, e, a = flow.n_dim, flow.e_dim, flow.a_dim
        layer = n * n + flow.axis_neuron * (n + e) * n
        layer += (2 * n + e) * (n * flow.n_multi_edge_message + e)
        if flow.update_angle:
            layer += e * e + a * a
        return flow.nlayers * layer + 8 * n_types * flow.e_sel
