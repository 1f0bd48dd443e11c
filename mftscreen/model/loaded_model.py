"""A model in memory, as the rest of mftscreen sees it: what evaluates structures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mftscreen.errors import (
    PeriodicityError,
    StructureError,
    UnknownPropertyError,
)
from mftscreen.model.domain_check import (
    DomainCheck,
    check_elements,
    doubts_of_energy,
    judge_properties,
)
from mftscreen.model.files.archive import Arrays
from mftscreen.model.files.branches import Domain
from mftscreen.model.files.bundle import ModelCard
from mftscreen.model.files.card_view import card_html
from mftscreen.model.network.backend import Evaluation
from mftscreen.model.network.side_by_side import Network
from mftscreen.model.readouts.kernel import KernelReadout
from mftscreen.model.readouts.pooling import pool
from mftscreen.properties import (
    PropertySpec,
    by_target,
    suggestion,
    undo_transforms,
)
from mftscreen.structures import check_distances, check_sites
from mftscreen.trust.intervals import IntervalCalibration
from mftscreen.trust.neighborhood import (
    Neighborhood,
    Surroundings,
    gather_surroundings,
)

__all__ = ["LoadedModel", "Model", "Prediction"]


@dataclass(frozen=True)
class Prediction(Evaluation):
    """An :class:`Evaluation` whose property values have the properties' names.

    Attributes
    ----------
    properties : dict of str to float
        In the unit of each :class:`~mftscreen.properties.PropertySpec`.
    around : dict of str to Surroundings
        Property to what is around the structure, where the model knows that.
    errors : dict of str to float
        Absolute errors to expect, where the model knows them, in the same units.
    """

    properties: dict[str, float] = field(default_factory=dict)
    around: dict[str, Surroundings] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)


class Model(Protocol):
    """What the calculator and the predictor need of a model.

    Attributes
    ----------
    type_map : tuple of str
        Chemical symbols the model has parameters for.
    properties : mapping of str to PropertySpec
    has_energy : bool
    sha256 : str
        Of the model file.
    lenient : bool
        Whether nothing is refused because heads were not made for it.
    """

    @property
    def lenient(self) -> bool: ...  # noqa: D102
    @property
    def type_map(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def properties(self) -> Mapping[str, PropertySpec]: ...  # noqa: D102
    @property
    def has_energy(self) -> bool: ...  # noqa: D102
    @property
    def sha256(self) -> str: ...  # noqa: D102

    def check_structure(
        self, atoms: Atoms, *, energy: bool = False, distances: bool = True
    ) -> None:
        """Raise if a structure cannot be evaluated; see :class:`LoadedModel`."""

    def judge_domain(
        self, atoms: Atoms, properties: Sequence[str], *, energy: bool = False
    ) -> DomainCheck:
        """Return what the model is worth for a structure; see :class:`LoadedModel`."""

    def evaluate(
        self,
        structures: Sequence[Atoms],
        *,
        energy: bool = False,
        derivatives: bool = True,
        properties: Sequence[str] = (),
        descriptors: bool = False,
    ) -> list[Prediction]:
        """Evaluate structures together; raise if two atoms are too close.

        See :class:`LoadedModel`.
        """


@dataclass(frozen=True)
class LoadedModel:
    """A model file in memory.

    Attributes
    ----------
    card : ModelCard
    network : DeepmdNetwork or SideBySide
    sha256 : str
    reference : mapping of str to ndarray
        Arrays of the OFM reference set; empty if the model has none.
    calibration : mapping of str to ndarray
        Arrays that prediction intervals are made of; empty if the model has none.
    readouts : mapping of str to KernelReadout
        Target to the kernel that predicts it, in place of a neural head if there is
        one.
    domain : {"crystals", "molecules"} or None
        What the energy head is for, if nobody has chosen it; then it is not evaluated
        for anything else.
    neighborhoods : sequence of Neighborhood
        Training rows in the space of the descriptor.
    lenient : bool
        Whether structures that heads were not made for are evaluated all the same.
    """

    card: ModelCard
    network: Network
    sha256: str
    reference: Arrays
    calibration: Arrays
    domain: Domain | None = None
    readouts: Mapping[str, KernelReadout] = field(default_factory=dict)
    neighborhoods: Sequence[Neighborhood] = ()
    lenient: bool = False

    def __repr__(self) -> str:
        predicts = [*(["energy"] if self.has_energy else []), *self.properties]
        return f"<{self.card.name}: {', '.join(predicts)}; sha256 {self.sha256[:12]}>"

    def _repr_html_(self) -> str:
        return card_html(self.card, self.sha256)

    def __deepcopy__(self, memo: object) -> LoadedModel:
        # nothing about it changes: copies of calculators and estimators share it
        return self

    @property
    def type_map(self) -> tuple[str, ...]:
        """Chemical symbols the model has parameters for."""
        return self.network.type_map

    @property
    def properties(self) -> dict[str, PropertySpec]:
        """Properties that the model predicts, by name."""
        return {name: head.spec for name, head in self.card.properties.items()}

    @property
    def has_energy(self) -> bool:
        """Whether the model predicts energy, forces and stress."""
        return self.card.energy_head is not None

    @cached_property
    def calibrations(self) -> dict[str, IntervalCalibration]:
        """What is known of errors, by property; without rows where nothing is.

        Raises
        ------
        ModelFileError
            If the file holds damaged arrays.
        """
        return {
            name: IntervalCalibration.from_arrays(self.calibration, name)
            for name in self.card.properties
        }

    @cached_property
    def _by_target(self) -> dict[str, list[PropertySpec]]:
        return by_target(self.properties.values())

    def check_structure(
        self, atoms: Atoms, *, energy: bool = False, distances: bool = True
    ) -> None:
        """Raise if a structure cannot be evaluated, whatever the property.

        Parameters
        ----------
        atoms : Atoms
        energy : bool, default False
            Whether its energy is wanted.
        distances : bool, default True
            Whether to look for atoms that are too close, which :meth:`evaluate` does,
            too.

        Raises
        ------
        StructureError
            See :func:`mftscreen.structures.check_structure`.
        PeriodicityError
            If the energy is wanted of what the energy head is not for; see
            :meth:`evaluate`.
        UnknownElementError
            If the energy is wanted, and the energy head never saw an element.
        """
        check_sites(atoms, self.type_map)
        if distances:
            check_distances(atoms)
        if energy and not self.lenient:
            self._check_energy(atoms)

    def judge_domain(
        self, atoms: Atoms, properties: Sequence[str], *, energy: bool = False
    ) -> DomainCheck:
        """Return which properties mean nothing for a structure, and which little.

        Parameters
        ----------
        atoms : Atoms
            Already checked (:meth:`check_structure`).
        properties : sequence of str
        energy : bool, default False
            Whether to judge the force field, too.

        Returns
        -------
        DomainCheck
            Of a model that is :attr:`lenient`, refusals are doubts, but for properties
            of molecules, which crystals do not have.
        """
        check = judge_properties(self.card, atoms, properties, lenient=self.lenient)
        if not energy:
            return check
        refused, doubts = dict(check.refused), dict(check.doubts)
        own = doubts_of_energy(self.card, atoms)
        try:
            self._check_energy(atoms)
        except StructureError as error:
            if self.lenient:
                own = (str(error), *own)
            else:
                refused = {"energy": error, **refused}
        if own:
            doubts["energy"] = own
        return replace(check, refused=refused, doubts=doubts)

    def evaluate(
        self,
        structures: Sequence[Atoms],
        *,
        energy: bool = False,
        derivatives: bool = True,
        properties: Sequence[str] = (),
        descriptors: bool = False,
    ) -> list[Prediction]:
        """Evaluate structures together, in one descriptor pass.

        Parameters
        ----------
        structures : sequence of Atoms
            Already checked, but for distances (:meth:`check_structure`).
        energy : bool
            Whether the energy is wanted.
        derivatives : bool
            Whether forces and virial are wanted with it.
        properties : sequence of str
            Names of properties.
        descriptors : bool
            Whether atomic descriptors are wanted.

        Returns
        -------
        list of Prediction

        Raises
        ------
        UnknownPropertyError
            If the model does not predict a property, or has no energy head.
        PeriodicityError
            If the energy of a molecule is asked for and the energy head was taken by
            default because it is for crystals, or the other way round.
        InvalidGeometryError
            If two atoms of a structure are too close.
        """
        unknown = [name for name in properties if name not in self.card.properties]
        if unknown or (energy and not self.has_energy):
            known = [*(["energy"] if self.has_energy else []), *self.card.properties]
            msg = (
                f"model {self.card.name} does not predict "
                f"{', '.join(unknown) or 'energies'}; it predicts: {', '.join(known)}"
            )
            msg += "".join(suggestion(name, self.properties) for name in unknown)
            raise UnknownPropertyError(msg)
        if not structures:
            return []
        if energy and not self.lenient:
            for atoms in structures:
                self._check_energy(atoms)
        specs = {name: self.properties[name] for name in properties}
        targets = list(by_target(specs.values()))
        kernels = {t: self.readouts[t] for t in targets if t in self.readouts}
        neighborhoods = [n for n in self.neighborhoods if set(specs) & set(n.labels)]
        heads = {
            spec.target: str(self.card.properties[name].head)
            for name, spec in specs.items()
            if spec.target not in kernels
        }
        evaluations = self.network.evaluate(
            structures,
            energy_head=self.card.energy_head if energy else None,
            property_heads=list(dict.fromkeys(heads.values())),
            derivatives=derivatives,
            descriptors=descriptors or bool(kernels or neighborhoods),
        )
        predictions = [Prediction(**vars(evaluation)) for evaluation in evaluations]
        pooled = np.empty((0, 0))
        if kernels or neighborhoods:
            rows = (each.descriptors for each in predictions)
            pooled = np.array([pool(atomic) for atomic in rows if atomic is not None])
        numbers = {
            target: undo_transforms(
                self._by_target[target],
                np.array([each.heads[head] for each in evaluations]),
            )
            for target, head in heads.items()
        } | {
            target: readout.predict(pooled, structures)
            for target, readout in kernels.items()
        }
        _fill_in(specs, numbers, predictions)
        _look_around(neighborhoods, pooled, predictions)
        for name in properties:
            _expect_errors(name, self.calibrations[name], predictions)
        if not descriptors:
            predictions = [replace(each, descriptors=None) for each in predictions]
        return predictions

    def _check_energy(self, atoms: Atoms) -> None:
        """Raise if the energy head is not for a structure."""
        check_elements(self.card, atoms)
        kind = "crystals" if atoms.pbc.any() else "molecules"
        if self.domain not in (None, kind):
            msg = (
                f"{self.card.name} was loaded for {self.domain}, with its head "
                f"{self.card.energy_head}; a structure that is periodic in "
                f"{'some' if atoms.pbc.any() else 'no'} direction belongs to "
                f"{kind}. Energies of different heads do not compare, so choose "
                f"one with energy_head=: a head or, if there is one for them, "
                f"'crystals' or 'molecules'"
            )
            raise PeriodicityError(msg)


def _fill_in(
    specs: Mapping[str, PropertySpec],
    numbers: Mapping[str, NDArray[np.float64]],
    predictions: Sequence[Prediction],
) -> None:
    """Add the properties that are made of the numbers of targets."""
    for name, spec in specs.items():
        values = spec.read(numbers[spec.target]).tolist()
        for each, value in zip(predictions, values, strict=True):
            each.properties[name] = value


def _look_around(
    neighborhoods: Sequence[Neighborhood],
    pooled: NDArray[np.float64],
    predictions: Sequence[Prediction],
) -> None:
    """Add what is around structures to those properties that are predicted."""
    for neighborhood in neighborhoods:
        for name, around in neighborhood.measure(pooled).items():
            pairs = zip(*(column.tolist() for column in around), strict=True)
            for each, pair in zip(predictions, pairs, strict=True):
                if name in each.properties:
                    each.around[name] = Surroundings(*pair)


def _expect_errors(
    name: str, calibration: IntervalCalibration, predictions: Sequence[Prediction]
) -> None:
    """Add the errors to expect of a property."""
    around = gather_surroundings(each.around.get(name) for each in predictions)
    values = [each.properties[name] for each in predictions]
    errors = calibration.expected_errors(values, around)
    for each, error in zip(predictions, errors.tolist(), strict=True):
        if np.isfinite(error):
            each.errors[name] = error
