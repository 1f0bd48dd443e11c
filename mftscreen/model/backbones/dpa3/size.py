"""The size of a DPA3 descriptor, and a descriptor of that size with random weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mftscreen.model.backbones.seam import EdgeCutoffs
from mftscreen.model.files.parameters import Layers, Number, Width

__all__ = ["DPA3Size"]

SILUT = "silut:3.0"
"""Eq. 18 of arXiv:2601.08486, with the threshold of Table 8."""

FITTING_NEURONS = (128, 128, 128)

# where switching functions begin, before the cutoffs (Å)
_EDGE_SWITCH, _ANGLE_SWITCH = 0.7, 0.5

_AXIS_NEURON = 4

_Scale = Annotated[float, Field(gt=0.0, le=20_000, allow_inf_nan=False)]


class DPA3Size(BaseModel):
    """Size of a DPA3 descriptor that is trained from random weights."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )

    type: Literal["dpa3"] = "dpa3"
    """Kind of the descriptor."""
    n_layers: Layers = 3
    """Message-passing layers."""
    n_dim: Width = 64
    """Width of the atomic (node) representation; at least 4 and that of angles."""
    e_dim: Width = 32
    """Width of the edge representation; at least 4 and that of angles."""
    a_dim: Width = 16
    """Width of the angle representation; even."""
    edge_cutoff: Annotated[float, Field(gt=_EDGE_SWITCH, le=50.0)] = 5.0
    """Å."""
    angle_cutoff: Annotated[float, Field(gt=_ANGLE_SWITCH, le=50.0)] = 3.5
    """Å; at most the edge cutoff."""
    edge_scale: _Scale = 11.0
    """Number of neighbours that sums over edges are divided by."""
    angle_scale: _Scale = 3.6
    """Number of neighbours that sums over angles are divided by."""
    update_residual: Annotated[Number, Field(gt=0.0)] = 0.5
    """Initial weight of each layer's update."""
    edge_input: Literal["distance", "inverse_distance"] = "distance"
    """What edges start from. The inverse tells short bonds apart from the first step
    on, which a force field of molecules needs to be learned at all in few steps."""

    @model_validator(mode="after")
    def _widths_fit(self) -> DPA3Size:
        # angles take as many components of the others, symmetrisation takes four
        if self.a_dim % 2:
            msg = f"a_dim: {self.a_dim} is not even"
            raise ValueError(msg)
        for name in ("n_dim", "e_dim"):
            least = max(_AXIS_NEURON, self.a_dim)
            if (width := getattr(self, name)) < least:
                msg = f"{name}: {width} is less than {least}: a_dim, or {_AXIS_NEURON}"
                raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _angles_are_between_edges(self) -> DPA3Size:
        if self.angle_cutoff > self.edge_cutoff:
            msg = (
                f"angle_cutoff: {self.angle_cutoff:g} Å is beyond the edge cutoff, "
                f"{self.edge_cutoff:g} Å"
            )
            raise ValueError(msg)
        return self

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> DPA3Size:
        """Return the size of a descriptor.

        Parameters
        ----------
        parameters : mapping
            deepmd-kit's of the descriptor.
        """
        repflow = parameters["repflow"]
        reduced = float(repflow["sel_reduce_factor"])
        return cls(
            n_layers=repflow["nlayers"],
            n_dim=repflow["n_dim"],
            e_dim=repflow["e_dim"],
            a_dim=repflow["a_dim"],
            edge_cutoff=repflow["e_rcut"],
            angle_cutoff=repflow["a_rcut"],
            # what sums over neighbours are divided by
            edge_scale=repflow["e_sel"] / reduced,
            angle_scale=repflow["a_sel"] / reduced,
            update_residual=repflow["update_residual"],
            edge_input=(
                "distance" if repflow.get("edge_init_use_dist") else "inverse_distance"
            ),
        )

    @property
    def cutoffs(self) -> EdgeCutoffs:
        """How far it sees."""
        return EdgeCutoffs(self.edge_cutoff, self.angle_cutoff)

    def parameters(self, neighbors: tuple[int, int], seed: int) -> dict[str, Any]:
        """Return deepmd-kit's parameters of a descriptor with random weights.

        Parameters
        ----------
        neighbors : tuple of int
            Most neighbours of an atom within the edge and within the angle cutoff.
        seed : int

        Returns
        -------
        dict
        """
        # deepmd divides sums over edges by e_sel / sel_reduce_factor and those over
        # angles by a_sel / sel_reduce_factor: choose e_sel and a_sel in the ratio of
        # the two scales, large enough for the data
        factor = max(
            neighbors[0] / self.edge_scale, neighbors[1] / self.angle_scale, 1.0
        )
        factor = float(-(-factor // 1))
        return {
            "type": "dpa3",
            "repflow": {
                "n_dim": self.n_dim,
                "e_dim": self.e_dim,
                "a_dim": self.a_dim,
                "nlayers": self.n_layers,
                "e_rcut": self.edge_cutoff,
                "e_rcut_smth": round(self.edge_cutoff - _EDGE_SWITCH, 6),
                "e_sel": round(self.edge_scale * factor),
                "a_rcut": self.angle_cutoff,
                "a_rcut_smth": round(self.angle_cutoff - _ANGLE_SWITCH, 6),
                "a_sel": round(self.angle_scale * factor),
                "sel_reduce_factor": factor,
                "axis_neuron": _AXIS_NEURON,
                "fix_stat_std": 0.3,
                "a_compress_rate": 1,
                "a_compress_e_rate": 2,
                "a_compress_use_split": True,
                "update_angle": True,
                "smooth_edge_update": True,
                "edge_init_use_dist": self.edge_input == "distance",
                "use_exp_switch": True,
                "update_style": "res_residual",
                "update_residual": self.update_residual,
                "update_residual_init": "const",
                "use_dynamic_sel": True,
            },
            "activation_function": SILUT,
            "use_tebd_bias": False,
            "precision": "float32",
            "concat_output_tebd": False,
            "seed": seed,
        }

    def energy_net(self, seed: int) -> dict[str, Any]:
        """Return deepmd-kit's parameters of an energy head with random weights.

        Parameters
        ----------
        seed : int

        Returns
        -------
        dict
        """
        return {
            "type": "ener",
            "neuron": list(FITTING_NEURONS),
            "resnet_dt": True,
            "activation_function": SILUT,
            "precision": "float32",
            "seed": seed,
        }
