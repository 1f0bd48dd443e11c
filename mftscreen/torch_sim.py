"""Batched relaxation and dynamics in torch-sim, with a model's force field."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.stress import voigt_6_to_full_3x3_stress

from mftscreen.errors import (
    DomainWarning,
    InvalidGeometryError,
    ModelError,
    StructureError,
    UnknownPropertyError,
)
from mftscreen.model.loaded_model import Model, Prediction
from mftscreen.model.loading import open_model
from mftscreen.model.network.backend import Device
from mftscreen.model.network.many import BatchLimit, evaluate_many
from mftscreen.stress import virial_to_stress

try:
    import torch
    from torch_sim.models.interface import ModelInterface
except ImportError as error:
    msg = "torch-sim is not installed: pip install 'mftscreen[torch-sim]'"
    raise ModelError(msg) from error

__all__ = ["TorchSimModel"]


class TorchSimModel(ModelInterface):
    """The force field of a model, as torch-sim's optimisers and integrators take it.

    Parameters
    ----------
    model : str, Path or Model, optional
        As for :class:`mftscreen.MFTCalculator`.
    energy_head : str, optional
        Likewise; ``molecules`` for molecules with ``mft-mini``.
    check_domain : bool, default True
        Whether to refuse what the energy head was not made for.
    device : {"auto", "cpu", "cuda"}
        Where the network is evaluated. The state that torch-sim moves is on the CPU in
        any case, where neighbours are searched.

    Raises
    ------
    UnknownModelError, ModelFileError, UnknownHeadError
        If the model cannot be loaded; see :func:`mftscreen.load_model`.
    UnknownPropertyError
        If it has no energies.
    ValueError
        If a head is given for a model that is loaded already, or `check_domain` is
        False for one that is not lenient.

    Notes
    -----
    Systems of any composition and size share batches, as in
    :class:`mftscreen.Predictor`, which is why torch-sim's own ``autobatcher`` is not
    needed. A system without a volume has a stress of NaN.

    References
    ----------
    torch-sim, doi:10.1088/3050-287X/ae1799.

    Examples
    --------
    >>> import torch_sim
    >>> from ase.build import bulk
    >>> crystals = [bulk("MgO", "rocksalt", a=4.3), bulk("Si")]
    >>> state = torch_sim.optimize(
    ...     crystals, TorchSimModel(), optimizer=torch_sim.Optimizer.fire
    ... )  # doctest: +SKIP
    >>> relaxed = state.to_atoms()  # doctest: +SKIP
    """

    def __init__(
        self,
        model: str | Path | Model | None = None,
        *,
        energy_head: str | None = None,
        check_domain: bool = True,
        device: Device = "auto",
    ) -> None:
        super().__init__()
        self.model = model = open_model(
            model, energy_head=energy_head, check_domain=check_domain, device=device
        )
        if not model.has_energy:
            msg = (
                "torch-sim needs energies and forces, which the model does not predict"
            )
            raise UnknownPropertyError(msg)
        self._device = torch.device("cpu")
        self._dtype = torch.float64
        self._compute_stress = True
        self._compute_forces = True
        self._limit = BatchLimit()

    def forward(self, state: Any, **kwargs: Any) -> dict[str, torch.Tensor]:
        """Evaluate all systems of a state.

        Parameters
        ----------
        state : torch_sim.SimState
            Not changed.
        **kwargs : object
            Of no effect.

        Returns
        -------
        dict of str to Tensor
            ``energy`` of shape (n_systems,) in eV, ``forces`` of shape (n_atoms, 3) in
            eV/Å, and ``stress`` of shape (n_systems, 3, 3) in eV/Å^3, positive under
            tension. All are NaN for a system whose atoms have come too close or have
            no finite positions, so that the others can go on.

        Raises
        ------
        StructureError
            If a system cannot be evaluated whatever its geometry, and names it: an
            element that the model does not know, a molecule for a head for crystals.

        Warns
        -----
        DomainWarning
            Where results are NaN.
        """
        structures = list(_structures(state))
        usable = [k for k, atoms in enumerate(structures) if self._is_usable(k, atoms)]
        energy = torch.full((len(structures),), torch.nan, dtype=self._dtype)
        stress = torch.full((len(structures), 3, 3), torch.nan, dtype=self._dtype)
        forces = [np.full((len(atoms), 3), np.nan) for atoms in structures]
        evaluate = partial(self.model.evaluate, energy=True)
        given = [structures[k] for k in usable]
        for position, result in evaluate_many(evaluate, given, self._limit):
            k = usable[position]
            if isinstance(result, Prediction):
                assert result.energy is not None
                assert result.forces is not None
                energy[k], forces[k] = result.energy, result.forces
                if structures[k].cell.rank == 3:
                    assert result.virial is not None
                    volume = structures[k].get_volume()
                    voigt = virial_to_stress(result.virial, volume)
                    stress[k] = torch.from_numpy(voigt_6_to_full_3x3_stress(voigt))
            else:
                _explain(k, result)
        found = {
            "energy": energy,
            "forces": torch.from_numpy(np.concatenate(forces)),
            "stress": stress,
        }
        positions = state.positions
        return {n: t.to(positions.device, positions.dtype) for n, t in found.items()}

    def _is_usable(self, k: int, atoms: Atoms) -> bool:
        """Tell whether a system can be evaluated; raise if it never can."""
        try:
            self.model.check_structure(atoms, energy=True, distances=False)
            check = self.model.judge_domain(atoms, [], energy=True)
            for error in check.refused.values():
                raise error
        except InvalidGeometryError as error:
            return _explain(k, error)
        except StructureError as error:
            error.args = (f"system {k}: {error}",)
            raise
        return True


def _structures(state: Any) -> Iterator[Atoms]:
    """Yield the systems of a state, whose cells have vectors as columns."""
    positions = state.positions.detach().cpu().double().numpy()
    cells = state.cell.detach().cpu().double().numpy().transpose(0, 2, 1)
    numbers = state.atomic_numbers.cpu().numpy()
    pbc = np.broadcast_to(np.asarray(state.pbc), 3)  # one for all, in old versions
    ends = np.cumsum(np.bincount(state.system_idx.cpu().numpy()))
    starts = [0, *ends[:-1]]
    for start, end, cell in zip(starts, ends, cells, strict=True):
        own = slice(start, end)
        yield Atoms(numbers[own], positions[own], cell=cell, pbc=pbc)


def _explain(k: int, error: StructureError) -> bool:
    text = f"system {k} cannot be evaluated, and is NaN from here: {error}"
    warnings.warn(text, DomainWarning, stacklevel=2)
    return False
