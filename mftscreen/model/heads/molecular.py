"""Models of molecules as a whole, and what their fitting nets have to do."""

# deepmd-kit compiles its models with TorchScript, which reads annotations at run time:
# no "from __future__ import annotations", and super() is not known in forward passes

import copy
import json
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from ase.data import atomic_masses, atomic_numbers
from dargs import Argument
from deepmd.dpmodel.output_def import FittingOutputDef, OutputVariableDef
from deepmd.pt.model.atomic_model.property_atomic_model import DPPropertyAtomicModel
from deepmd.pt.model.descriptor.base_descriptor import BaseDescriptor
from deepmd.pt.model.model.model import BaseModel
from deepmd.pt.model.model.property_model import PropertyModel
from deepmd.pt.model.task.base_fitting import BaseFitting
from deepmd.pt.model.task.property import PropertyFittingNet
from deepmd.pt.utils import env
from deepmd.utils.argcheck import (
    fitting_args_plugin,
    fitting_property,
    model_args_plugin,
    standard_model_args,
)
from numpy.typing import NDArray

from mftscreen.head_forms import HEAD_FORMS, find_form

__all__ = ["FloatArray", "MolecularAtomicModel", "MolecularFitting", "MolecularModel"]

FloatArray = NDArray[np.float64]

_KIND = "molecular_property"


class MolecularFitting(PropertyFittingNet):
    """A net whose atomic numbers make a value with the positions of the atoms."""

    def combine(self, latent: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Return atomic contributions (n_frames, n_atoms, 1) in the label's unit.

        Parameters
        ----------
        latent : Tensor of shape (n_frames, n_atoms, n_latent)
            What the net gives, scaled and with biases.
        positions : Tensor of shape (n_frames, n_atoms, 3)
            Relative to the centre of mass, in Å; zero where there is no atom.
        """
        raise NotImplementedError

    def fit_scales(
        self, squares: FloatArray, labels: FloatArray, least: float
    ) -> tuple[FloatArray, float, float]:
        """Return biases (n_types,), the spread of the labels about them, and s.

        Parameters
        ----------
        squares : ndarray of shape (n_frames, n_types)
            Sum of squared distances over the atoms of each element, in Å^2.
        labels : ndarray of shape (n_frames,)
        least : float
            The spread is at least that, so that labels which the biases alone fit
            do not silence the net.
        """
        raise NotImplementedError

    def serialize(self) -> dict[str, Any]:
        """Raise, since only PyTorch knows this head."""
        msg = "heads for molecules exist for deepmd-kit's PyTorch backend only"
        raise NotImplementedError(msg)


class MolecularAtomicModel(DPPropertyAtomicModel):
    """Atomic contributions that depend on positions in the molecule."""

    def __init__(
        self, descriptor: Any, fitting: Any, type_map: list[str], **settings: Any
    ) -> None:
        super().__init__(descriptor, fitting, type_map, **settings)
        options = {"dtype": env.GLOBAL_PT_FLOAT_PRECISION, "device": env.DEVICE}
        self.register_buffer("scale", torch.ones((), **options))
        self._set_masses(type_map)

    @torch.jit.export
    def fitting_output_def(self) -> FittingOutputDef:
        """Return the property: one number, a sum of atomic contributions."""
        return FittingOutputDef(
            [
                OutputVariableDef(
                    self.fitting_net.var_name,
                    [1],
                    reducible=True,
                    r_differentiable=False,
                    c_differentiable=False,
                )
            ]
        )

    def _set_masses(self, type_map: list[str]) -> None:
        masses = [float(atomic_masses[atomic_numbers[symbol]]) for symbol in type_map]
        tensor = torch.tensor(masses, dtype=self.scale.dtype, device=self.scale.device)
        self.register_buffer("masses", tensor)

    def change_type_map(
        self, type_map: list[str], model_with_new_type_stat: Any = None
    ) -> None:
        """Take over another list of chemical symbols."""
        super().change_type_map(type_map, model_with_new_type_stat)
        self._set_masses(type_map)

    def relative_positions(
        self, coordinates: torch.Tensor, atype: torch.Tensor
    ) -> torch.Tensor:
        """Return positions (n_frames, n_atoms, 3) from the centre of mass, in Å."""
        real = (atype >= 0).to(coordinates.dtype)[:, :, None]
        weights = self.masses[atype.clamp(min=0)][:, :, None] * real
        centre = (weights * coordinates).sum(dim=1, keepdim=True)
        centre = centre / weights.sum(dim=1, keepdim=True)
        relative: torch.Tensor = (coordinates - centre) * real
        return relative

    def contributions(
        self, latent: torch.Tensor, coordinates: torch.Tensor, atype: torch.Tensor
    ) -> torch.Tensor:
        """Return atomic contributions (n_frames, n_atoms, 1), zero without an atom.

        Parameters
        ----------
        latent : Tensor of shape (n_frames, n_atoms, n_latent)
            Of the fitting net.
        coordinates : Tensor of shape (n_frames, n_atoms, 3)
            In Å.
        atype : Tensor of shape (n_frames, n_atoms)
            -1 where there is no atom.
        """
        bias = self.out_bias[0][atype.clamp(min=0)]
        real = (atype >= 0).to(latent.dtype)[:, :, None]
        values = (latent * self.scale + bias) * real
        positions = self.relative_positions(coordinates, atype)
        result: torch.Tensor = self.fitting_net.combine(values, positions)
        return result

    def forward_common_atomic(
        self,
        extended_coord: torch.Tensor,
        extended_atype: torch.Tensor,
        nlist: torch.Tensor,
        mapping: torch.Tensor | None = None,
        fparam: torch.Tensor | None = None,
        aparam: torch.Tensor | None = None,
        comm_dict: dict[str, torch.Tensor] | None = None,
        charge_spin: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """Return atomic contributions; see deepmd-kit's ``BaseAtomicModel``."""
        n_atoms = nlist.shape[1]
        if extended_atype.shape[1] != n_atoms:
            msg = "a head for molecules cannot evaluate a periodic cell"
            raise ValueError(msg)
        result = self.forward_atomic(
            extended_coord,
            extended_atype.clamp(min=0),
            nlist,
            mapping=mapping,
            fparam=fparam,
            aparam=aparam,
            comm_dict=comm_dict,
            charge_spin=charge_spin,
        )
        name = self.fitting_net.var_name
        coordinates = extended_coord.view(extended_atype.shape[0], n_atoms, 3)
        return {
            name: self.contributions(result[name], coordinates, extended_atype),
            "mask": (extended_atype >= 0).to(torch.int32),
        }

    def change_out_bias(
        self,
        sample_merged: Callable[[], list[dict[str, Any]]] | list[dict[str, Any]],
        stat_file_path: Any = None,
        bias_adjust_mode: str = "set-by-statistic",
    ) -> None:
        """Set scale and biases by the labels of training frames.

        Parameters
        ----------
        sample_merged : list of dict, or callable that returns it
            With ``coord``, ``atype`` and the label, frames of one size in each.
        stat_file_path
            Not used: the statistics take no time.
        bias_adjust_mode : str
            With ``change-by-statistic``, a head that is trained already stays as it is.
        """
        if bias_adjust_mode != "set-by-statistic":
            return
        samples = sample_merged() if callable(sample_merged) else sample_merged
        squares, labels = [], []
        for sample in samples:
            atype = sample["atype"]
            positions = sample["coord"].reshape(*atype.shape, 3)
            positions = positions.to(self.masses.device, self.masses.dtype)
            relative = self.relative_positions(positions, atype.to(positions.device))
            distances = (relative**2).sum(dim=-1).cpu().numpy()
            elements = np.eye(len(self.type_map))[atype.cpu().numpy()]
            squares.append(np.einsum("fi,fiz->fz", distances, elements))
            label = sample[self.fitting_net.var_name]
            labels.append(label.reshape(-1).cpu().numpy().astype(np.float64))
        bias, spread, scale = self.fitting_net.fit_scales(
            np.concatenate(squares), np.concatenate(labels), self.data_stat_protect
        )
        self.out_bias.copy_(torch.as_tensor(bias)[None, :, None])
        self.out_std.fill_(spread)
        self.scale.fill_(scale)


@BaseModel.register(_KIND)
class MolecularModel(PropertyModel):
    """A property of a molecule as a whole."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(atomic_model_=MolecularAtomicModel(*args, **settings))

    @classmethod
    def get_model(cls, model_params: dict[str, Any]) -> "MolecularModel":
        """Return the model that deepmd-kit's input describes."""
        params = copy.deepcopy(model_params)
        type_map = params["type_map"]
        descriptor = BaseDescriptor(
            **params["descriptor"], ntypes=len(type_map), type_map=type_map
        )
        settings = params["fitting_net"]
        form = find_form(settings)
        if form is not None and form.directed:
            settings["embedding_width"] = descriptor.get_dim_emb()
        fitting = BaseFitting(
            **settings,
            ntypes=len(type_map),
            type_map=type_map,
            mixed_types=descriptor.mixed_types(),
            dim_descrpt=descriptor.get_dim_out(),
        )
        model = cls(descriptor, fitting, type_map)
        model.model_def_script = json.dumps(model_params)
        return model

    @torch.jit.export
    def get_intensive(self) -> bool:
        """Return True: the loss is that of the value, not of the value per atom."""
        return True

    def change_out_bias(
        self, merged: Any, bias_adjust_mode: str = "change-by-statistic"
    ) -> None:
        """Set scale and biases; see :class:`MolecularAtomicModel`."""
        self.atomic_model.change_out_bias(merged, bias_adjust_mode=bias_adjust_mode)


for _form in HEAD_FORMS.values():
    if _form.model == _KIND:
        fitting_args_plugin.register(_form.fitting, doc="of mftscreen, for molecules")(
            fitting_property
        )


@cache  # deepmd-kit asks a dozen times as a training starts, a tenth of a second each
def _model_arguments() -> Argument:
    argument: Argument = standard_model_args()
    argument.name = _KIND
    fittings = [form.fitting for form in HEAD_FORMS.values() if form.model == _KIND]
    argument.doc = f"of mftscreen: a property of a molecule, by {' or '.join(fittings)}"
    return argument


model_args_plugin.register(_KIND)(_model_arguments)
