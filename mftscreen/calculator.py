"""ASE calculator: energy, forces, stress and properties from one object."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Sequence
from inspect import signature
from pathlib import Path
from threading import RLock
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import (
    Calculator,
    PropertyNotImplementedError,
    all_changes,
    all_properties,
)
from ase.calculators.singlepoint import SinglePointCalculator
from ase.outputs import Properties
from numpy.typing import NDArray

from mftscreen.errors import (
    DomainWarning,
    OutsideDomainError,
    StructureError,
    UnknownPropertyError,
)
from mftscreen.model.domain_check import DomainCheck
from mftscreen.model.loaded_model import Model
from mftscreen.model.loading import open_model
from mftscreen.model.network.backend import Device
from mftscreen.properties import own_names, suggestion
from mftscreen.stress import virial_to_stress
from mftscreen.structures import check_sites, keep_charge, without_calculator
from mftscreen.suggestions import did_you_mean

__all__ = ["MFTCalculator"]

ENERGY_PROPERTIES = ("energy", "free_energy", "forces", "stress")

_OF_ASE = ("atoms", "directory", "label", "restart")
"""Options of every calculator of ASE."""


class MFTCalculator(Calculator):
    """Energy, forces, stress and properties of a multi-task fine-tuned model.

    Parameters
    ----------
    model : str, Path or Model, optional
        Name of a registered model, a ``.mft`` file, a stock deepmd-kit ``.pt``
        checkpoint, or a loaded model. By default the shipped ``mft-mini``. A large
        pretrained model (``DPA-3.1-3M``) is downloaded when it is first used.
    properties : collection of str, optional
        What will be asked for: ``mft-mini`` stands for one model for crystals, the
        default, and one for molecules, which is loaded if it predicts these.
    energy_head : str, optional
        Head for energy, forces and stress, where a checkpoint has several; of
        ``mft-mini`` or a large pretrained model also ``crystals``, the default where
        there is one, or ``molecules``.
    property_heads : sequence of str, optional
        Property heads of a ``.pt`` checkpoint to offer; all by default.
    check_domain : bool, default True
        Whether to refuse what the heads were not made for: properties of another kind
        of structures or of elements that a head never saw, and energies of such
        elements. Otherwise a :class:`~mftscreen.errors.DomainWarning` says so.
    device : {"auto", "cpu", "cuda"}
        ``auto`` takes a GPU if there is one.
    **kwargs : object
        ``atoms``, ``directory``, ``label`` and ``restart`` of
        :class:`ase.calculators.calculator.Calculator`.

    Raises
    ------
    TypeError
        If there is no such option.
    UnknownModelError, ModelFileError, UnknownHeadError
        If the model cannot be loaded; see :func:`mftscreen.load_model`.
    ValueError
        If heads are given for a model that is loaded already, or `check_domain` is
        False for one that is not lenient.

    Warns
    -----
    DomainWarning
        Once for each thing that a head cannot know of a structure: a charge, a surface,
        a size beyond its training set.

    Notes
    -----
    Energies are in eV, forces in eV/Å, the stress in eV/Å^3 with ASE's sign (positive
    under tension) and Voigt order xx, yy, zz, yz, xz, xy. ``free_energy`` equals
    ``energy``. Any combination of ``pbc`` is exact: neighbours are searched only
    along periodic directions. The stress needs a cell with a volume.

    A pickled calculator has its model in it, and can go to other processes
    (multiprocessing, joblib); there, many copies of it share one in memory, as do those
    of ``copy.deepcopy``. Threads that share a calculator take turns, and each gets the
    results of its own structure; ``results`` are those of the last one. For images of a
    NEB, ``MFTCalculator(calculator.model)`` makes another calculator of the same model.

    Only the heads that are asked for are evaluated, all in one descriptor pass. Of
    properties there are no gradients, whether a neural head or a kernel predicts them.

    Examples
    --------
    >>> from ase.build import bulk
    >>> atoms = bulk("MgO", "rocksalt", a=4.21)
    >>> atoms.calc = MFTCalculator()  # doctest: +SKIP
    >>> atoms.get_potential_energy()  # doctest: +SKIP
    >>> atoms.calc.get_property("dielectric", atoms)  # doctest: +SKIP
    """

    ignored_changes: ClassVar[set[str]] = {"initial_charges", "initial_magmoms"}

    def __init__(
        self,
        model: str | Path | Model | None = None,
        *,
        properties: Collection[str] = (),
        energy_head: str | None = None,
        property_heads: Sequence[str] | None = None,
        check_domain: bool = True,
        device: Device = "auto",
        **kwargs: Any,
    ) -> None:
        if unknown := sorted(set(kwargs) - set(_OF_ASE)):
            # ASE would keep them as parameters, of no effect
            known = [*signature(MFTCalculator).parameters, *_OF_ASE]
            msg = f"MFTCalculator has no option {unknown[0]!r}"
            raise TypeError(msg + did_you_mean(unknown[0], known=known))
        self.model = model = open_model(
            model,
            properties=properties,
            energy_head=energy_head,
            property_heads=property_heads,
            check_domain=check_domain,
            device=device,
        )
        self._lock = RLock()
        self._warned: set[str] = set()
        self.implemented_properties = [
            *(ENERGY_PROPERTIES if model.has_energy else ()),
            *model.properties,
        ]
        super().__init__(**kwargs)

    def get_property(
        self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True
    ) -> Any:
        """Return one property; see :meth:`ase.calculators.calculator.Calculator`.

        That of a property with several components is an array of them.

        Raises
        ------
        UnknownPropertyError
            If the model does not predict `name`; the message lists what it does.
        """
        # what ASE calls a dipole is a vector in e·Å, and its writers ask for it
        if name not in (*self.implemented_properties, *all_properties):
            name, *others = own_names([name], self.model.properties)[name]
            if others:
                names, get = (name, *others), super().get_property
                atoms = self.atoms if atoms is None else atoms
                with self._lock:
                    if allow_calculation and atoms is not None:
                        # one head gives them all
                        self._calculate_missing(atoms, names)
                    found = [get(n, atoms, allow_calculation) for n in names]
                known = all(value is not None for value in found)
                return np.array(found) if known else None
        if name not in self.implemented_properties:
            msg = (
                f"the model does not predict {name!r}; it predicts: "
                f"{', '.join(self.implemented_properties)}"
                f"{suggestion(name, self.model.properties)}"
            )
            raise UnknownPropertyError(msg)
        # from the comparison of structures to the result, lest it be another's
        with self._lock:
            return super().get_property(name, atoms, allow_calculation)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] | None = None,
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Evaluate the heads that `properties` need and add them to ``results``.

        Raises
        ------
        StructureError
            If the structure cannot be evaluated; see
            :func:`mftscreen.structures.check_structure`. If a property was not made
            for it, or an element is new to its head.
        PropertyNotImplementedError
            If the stress of a structure without volume is asked for.
        """
        if properties is None:
            properties = ["energy"] if self.model.has_energy else []
        with self._lock:
            self._calculate(atoms, properties, system_changes)

    def _calculate(
        self,
        atoms: Atoms | None,
        properties: Sequence[str],
        system_changes: Sequence[str],
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        if atoms is not None and self.atoms is not None:
            keep_charge(self.atoms, atoms)
        if system_changes:
            self.results: dict[str, Any] = {}
        current = self._checked_atoms()
        if "stress" in properties and current.cell.rank < 3:
            msg = "a structure without a three-dimensional cell has no stress"
            raise PropertyNotImplementedError(msg)
        energy = any(name in ENERGY_PROPERTIES for name in properties)
        asked = [p for p in properties if p in self.model.properties]
        self._check_domain(current, asked, energy=energy)
        (prediction,) = self.model.evaluate(
            [current],
            energy=energy,
            derivatives=energy and any(p in ("forces", "stress") for p in properties),
            properties=asked,
        )
        if prediction.energy is not None:
            self.results["energy"] = prediction.energy
            self.results["free_energy"] = prediction.energy
        if prediction.forces is not None:
            self.results["forces"] = prediction.forces
        if prediction.virial is not None and current.cell.rank == 3:
            self.results["stress"] = virial_to_stress(
                prediction.virial, current.get_volume()
            )
        self.results.update(prediction.properties)

    def get_descriptors(self, atoms: Atoms | None = None) -> NDArray[np.float64]:
        """Return the atomic descriptors (the backbone's representation).

        Parameters
        ----------
        atoms : Atoms, optional
            By default the structure of the last calculation.

        Returns
        -------
        ndarray of shape (n_atoms, n_features)
        """
        current = self._checked_atoms(atoms)
        (prediction,) = self.model.evaluate([current], descriptors=True)
        assert prediction.descriptors is not None
        return prediction.descriptors

    def freeze(self, atoms: Atoms) -> Atoms:
        """Return a copy whose predictions survive being written to a file.

        ASE's writers drop results that are not its own. Here its own (energy, forces,
        stress) go to a :class:`SinglePointCalculator`, the properties to
        ``atoms.info``, which extxyz and traj write; for an ``ase.db`` pass them as
        ``key_value_pairs`` to ``db.write``. What the model was not made for is left
        out.

        Parameters
        ----------
        atoms : Atoms
            Evaluated where that was not done yet: every property of the model, and
            energy, forces and stress as far as they are defined.

        Returns
        -------
        Atoms
            With ``info[<property>]`` for every property that it may have.

        Examples
        --------
        >>> frozen = calc.freeze(atoms)  # doctest: +SKIP
        >>> frozen.write("result.extxyz")  # doctest: +SKIP
        """
        names = [
            name
            for name in self.implemented_properties
            if name != "stress" or atoms.cell.rank == 3
        ]
        self.model.check_structure(atoms)
        check = self.model.judge_domain(
            atoms, list(self.model.properties), energy=self.model.has_energy
        )
        refused = {name for name, _ in self._refusals(check)}
        if "energy" in refused:
            refused.update(ENERGY_PROPERTIES)
        names = [name for name in names if name not in refused]
        with self._lock:
            self._calculate_missing(atoms, names)
            results = self.results
        frozen = without_calculator(atoms)
        own = {n: results[n] for n in names if n in ENERGY_PROPERTIES}
        frozen.calc = SinglePointCalculator(frozen, **own)
        frozen.info.update(
            {n: float(results[n]) for n in names if n not in ENERGY_PROPERTIES}
        )
        return frozen

    def export_properties(self) -> Properties:
        """Return those results that ASE has names for."""
        known = {n: v for n, v in self.results.items() if n in all_properties}
        return Properties(known)

    def _calculate_missing(self, atoms: Atoms, names: Sequence[str]) -> None:
        """Calculate what is not known of a structure."""
        if self.calculation_required(atoms, names):
            # one pass for everything, instead of one per property
            changes = self.check_state(atoms)
            if changes:
                self.reset()
            self.calculate(atoms, names, changes)

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = RLock()

    def _check_domain(
        self, atoms: Atoms, properties: Sequence[str], *, energy: bool
    ) -> None:
        """Raise if the model was not made for a structure; warn of what is doubtful."""
        check = self.model.judge_domain(atoms, properties, energy=energy)
        for _, error in self._refusals(check):
            raise error
        unseen = {n: (_never_saw(own),) for n, own in check.unseen_elements.items()}
        for name, doubts in (*check.doubts.items(), *unseen.items()):
            for text in (f"{name}: {doubt}" for doubt in doubts):
                if text not in self._warned:
                    self._warned.add(text)
                    warnings.warn(text, DomainWarning, stacklevel=5)

    def _refusals(self, check: DomainCheck) -> Iterator[tuple[str, StructureError]]:
        """Yield the properties that are refused here, where no flag could be seen."""
        yield from check.refused.items()
        if not self.model.lenient:
            for name, elements in check.unseen_elements.items():
                yield name, OutsideDomainError(f"{name}: {_never_saw(elements)}")

    def _checked_atoms(self, atoms: Atoms | None = None) -> Atoms:
        current = self.atoms if atoms is None else atoms
        if current is None:
            msg = "no structure was given"
            raise StructureError(msg)
        check_sites(current, self.model.type_map)
        return current


def _never_saw(elements: Sequence[str]) -> str:
    return f"its head never saw {', '.join(elements)}"
