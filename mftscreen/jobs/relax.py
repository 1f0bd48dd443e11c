"""Relaxation of structures, all in one batch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from mftscreen.console.progress import progress_bar
from mftscreen.data.memory import iter_memory
from mftscreen.errors import MftscreenError, ModelError
from mftscreen.model.files.registry import DEFAULT_MODEL, member_for
from mftscreen.model.loading import load_model
from mftscreen.screen.candidates.in_memory import is_in_memory
from mftscreen.screen.candidates.stream import iter_candidates
from mftscreen.screen.order.rank_options import plain_value
from mftscreen.screen.relax.batched import Relaxer, RelaxResult
from mftscreen.screen.relax.settings import RelaxSettings
from mftscreen.stress import virial_to_stress
from mftscreen.structures import keep_charge

if TYPE_CHECKING:
    from mftscreen.model.loaded_model import Model
    from mftscreen.model.network.backend import Device
    from mftscreen.screen.relax.settings import CellFilterName, OptimizerName

__all__ = ["relax"]

_INFO = tuple(
    f"relax_{what}"
    for what in ("status", "reason", "converged", "steps", "fmax", "volume_change")
)


def relax(
    structures: Any,
    model: Any = None,
    *,
    fmax: float = 0.05,
    steps: int = 500,
    optimizer: OptimizerName = "fire",
    cell_filter: CellFilterName = "frechet",
    relaxer: str | None = None,
    check_domain: bool = True,
    device: Device = "auto",
    progress: bool = False,
) -> list[Atoms]:
    """Relax structures, up to 64 at a time in one batch.

    Parameters
    ----------
    structures : Atoms, pymatgen structure or several
        Whatever :func:`mftscreen.rank` takes, files included. They are not changed.
    model : str, Path, object, optional
        Name or file of a model, a loaded one, or a result of
        :func:`mftscreen.finetune`. By default ``mft-mini``: that of crystals if any
        structure is periodic, else that of molecules.
    fmax : float
        Largest force (eV/Å) at which a structure counts as relaxed; with a cell filter
        the forces on the cell, divided by the number of atoms, are among them.
    steps : int
        Steps after which a structure is left as it is.
    optimizer : {"fire", "bfgs", "lbfgs"}
    cell_filter : {"frechet", "none"}
        ``frechet`` relaxes the cell, too, in its periodic directions.
    relaxer : str, optional
        ``module:factory`` of an ASE calculator to relax with, in place of the model.
    check_domain : bool, default True
        Whether to refuse what the force field was not made for.
    device : {"auto", "cpu", "cuda"}
    progress : bool, default False
        Whether to show a bar.

    Returns
    -------
    list of Atoms
        In the order that was given, each with the energy (eV), forces (eV/Å) and, if it
        is periodic in a cell with a volume, stress (eV/Å^3) of its last step, and in
        ``info`` ``relax_converged``, ``relax_steps``, ``relax_fmax`` (eV/Å) and
        ``relax_volume_change``. One that could not be relaxed is as it was, without
        results, and ``info`` has ``relax_status`` and ``relax_reason``; the reason is
        there, too, if it has not converged.

    Raises
    ------
    ConfigError
        If a setting is not allowed.
    DataError, StructureError
        If something is no structure; its id is named.
    ModelError, UnknownPropertyError
        If the model cannot be loaded or has no energies.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from mftscreen import relax
    >>> (atoms,) = relax(bulk("MgO", "rocksalt", a=4.4))  # doctest: +SKIP
    >>> atoms.get_potential_energy(), atoms.info["relax_steps"]  # doctest: +SKIP
    """
    settings = RelaxSettings(optimizer, cell_filter, fmax, steps, relaxer)
    given = []
    for name, structure in _named_structures(structures):
        if not isinstance(structure, Atoms):
            structure.args = (f"structure {name}: {structure}",)
            raise structure
        given.append(structure)
    periodic = any(atoms.pbc.any() for atoms in given) or not given
    loaded = _load(model, "crystals" if periodic else "molecules", check_domain, device)
    results = Relaxer(loaded, settings)(given)
    found = progress_bar(results, shown=progress, total=len(given), unit="structure")
    return [
        _with_results(atoms, result, settings)
        for atoms, result in zip(given, found, strict=True)
    ]


def _named_structures(source: Any) -> Iterator[tuple[str, Atoms | MftscreenError]]:
    if is_in_memory(source):
        for row in iter_memory(source):
            yield str(row.name), row.structure
    else:
        for candidate in iter_candidates(source):
            yield candidate.id, candidate.structure


def _load(model: Any, domain: str, check_domain: bool, device: Device) -> Model:
    model = plain_value(model)
    model = getattr(model, "model_", model)  # of a fitted estimator
    if hasattr(model, "check_structure"):
        loaded: Model = model
        return loaded
    if model is None:
        model = DEFAULT_MODEL
    if isinstance(model, os.PathLike):
        model = Path(model)
    if not isinstance(model, str | Path):
        msg = f"a model's name or file is expected, not {type(model).__name__}"
        raise ModelError(msg)
    if isinstance(model, str):
        model = member_for(model, domain)
    return load_model(model, check_domain=check_domain, device=device)


def _with_results(given: Atoms, result: RelaxResult, settings: RelaxSettings) -> Atoms:
    atoms = result.atoms
    # of an earlier relaxation
    atoms.info = {k: v for k, v in given.info.items() if k not in _INFO}
    keep_charge(atoms, given)
    if result.reason:
        atoms.info["relax_reason"] = result.reason
    if not result.ok:
        atoms.info["relax_status"] = result.status
        return atoms
    atoms.info |= {
        "relax_converged": bool(result.converged),
        "relax_steps": result.steps,
        "relax_fmax": float(result.fmax),
        "relax_volume_change": result.volume_change,
    }
    own = {"energy": result.energy, "forces": result.forces}
    knows_stress = settings.relaxer is None or settings.cell_filter != "none"
    if knows_stress and atoms.pbc.any() and atoms.cell.rank == 3:
        assert result.virial is not None
        own["stress"] = virial_to_stress(result.virial, atoms.get_volume())
    atoms.calc = SinglePointCalculator(atoms, **own)
    return atoms
