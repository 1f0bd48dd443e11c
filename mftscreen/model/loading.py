"""A model as the rest of mftscreen sees it: a network, its card, its reference set."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from ase import Atoms

from mftscreen.errors import (
    ModelFileError,
    PeriodicityError,
    UnknownHeadError,
    UnknownModelError,
    UnknownPropertyError,
)
from mftscreen.model.files.archive import Arrays
from mftscreen.model.files.branches import Domain, choose_energy_head, energy_branches
from mftscreen.model.files.bundle import Bundle, ModelCard, read_bundle
from mftscreen.model.files.cards import card_of_checkpoint, check_card, neural_card
from mftscreen.model.files.checkpoint import keep_heads, model_parameters
from mftscreen.model.files.download import find_domains
from mftscreen.model.files.reading import read_checkpoint, read_state
from mftscreen.model.files.registry import (
    DEFAULT_MODEL,
    domain_of,
    find_members,
    resolve_model,
)
from mftscreen.model.network.backend import DeepmdNetwork, Device, Evaluation
from mftscreen.model.readouts.kernel import KernelReadout
from mftscreen.model.readouts.pooling import pool
from mftscreen.properties import PropertySpec
from mftscreen.structures import check_distances, check_sites

__all__ = ["LoadedModel", "Model", "Prediction", "load_model", "load_state"]


@dataclass(frozen=True)
class Prediction(Evaluation):
    """An :class:`Evaluation` whose property values have the properties' names.

    Attributes
    ----------
    properties : dict of str to float
        In the unit of each :class:`~mftscreen.properties.PropertySpec`.
    errors : dict of str to float
        Absolute errors to expect of those that a kernel predicts, in the same units.
    """

    properties: dict[str, float] = field(default_factory=dict)
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
    """

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
    network : DeepmdNetwork
    sha256 : str
    reference : mapping of str to ndarray
        Arrays of the OFM reference set; empty if the model has none.
    calibration : mapping of str to ndarray
        Arrays that prediction intervals are made of; empty if the model has none.
    readouts : mapping of str to KernelReadout
        Kernels that predict properties, in place of neural heads if there are any.
    domain : {"crystals", "molecules"} or None
        What the energy head is for, if nobody has chosen it; then it is not evaluated
        for anything else.
    """

    card: ModelCard
    network: DeepmdNetwork
    sha256: str
    reference: Arrays
    calibration: Arrays
    domain: Domain | None = None
    readouts: Mapping[str, KernelReadout] = field(default_factory=dict)

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
        """
        check_sites(atoms, self.type_map)
        if distances:
            check_distances(atoms)
        if energy:
            self._check_domain(atoms)

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
            raise UnknownPropertyError(msg)
        if energy:
            for atoms in structures:
                self._check_domain(atoms)
        kernels = {n: self.readouts[n] for n in properties if n in self.readouts}
        heads = {
            name: str(self.card.properties[name].head)
            for name in properties
            if name not in kernels
        }
        evaluations = self.network.evaluate(
            structures,
            energy_head=self.card.energy_head if energy else None,
            property_heads=list(dict.fromkeys(heads.values())),
            derivatives=derivatives,
            descriptors=descriptors or bool(kernels),
        )
        predictions = [
            Prediction(
                **vars(evaluation),
                properties={
                    name: float(spec.transform.undo(evaluation.heads[heads[name]]))
                    for name, spec in self.properties.items()
                    if name in heads
                },
            )
            for evaluation in evaluations
        ]
        if kernels:
            _read_out(kernels, predictions, structures)
        if not descriptors:
            predictions = [replace(each, descriptors=None) for each in predictions]
        return predictions

    def _check_domain(self, atoms: Atoms) -> None:
        """Raise if nobody has chosen the energy head and it is not for a structure."""
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


def _read_out(
    kernels: Mapping[str, KernelReadout],
    predictions: Sequence[Prediction],
    structures: Sequence[Atoms],
) -> None:
    """Add the properties that kernels predict from descriptors."""
    descriptors = (each.descriptors for each in predictions)
    pooled = np.array([pool(rows) for rows in descriptors if rows is not None])
    for name, readout in kernels.items():
        values, errors = readout.predict(pooled, structures)
        for each, value, error in zip(
            predictions, values.tolist(), errors.tolist(), strict=True
        ):
            each.properties[name] = value
            each.errors[name] = error


def load_model(
    source: str | Path | None = None,
    *,
    properties: Collection[str] = (),
    energy_head: str | None = None,
    property_heads: Sequence[str] | None = None,
    neural: bool = False,
    device: Device = "auto",
    progress: bool = False,
) -> LoadedModel:
    """Load a model by name or path.

    Parameters
    ----------
    source : str or Path, optional
        Name of a registered model, path of a ``.mft`` file, or path of a stock
        deepmd-kit ``.pt`` checkpoint. By default the shipped ``mft-mini``. A large
        pretrained model (``DPA-3.1-3M``) is downloaded when it is first used.
    properties : collection of str, optional
        What will be asked of it. ``mft-mini`` stands for two models: that which
        predicts these is loaded, or else the one for crystals.
    energy_head : str, optional
        For a ``.pt`` file: the head for energy, forces and stress, or an alias that
        the checkpoint gives it. May be left out if there is only one. Of a large
        pretrained model, ``crystals`` and ``molecules`` mean the heads of OMat24 and
        of SPICE2 or OMol25; without a choice it is that for crystals, or else for
        molecules, and the energies of others are refused. For a ``.mft`` file it
        replaces the one on the card. Of ``mft-mini``, ``crystals`` and ``molecules``
        mean one model each, unless `properties` choose it.
    property_heads : sequence of str, optional
        For a ``.pt`` file: the property heads to offer; all by default.
    neural : bool, default False
        Whether neural heads predict where the model has kernels in their place. The
        model's sha256 is then another one, so that results are told apart.
    device : {"auto", "cpu", "cuda"}
    progress : bool, default False
        Whether a download shows its progress on stderr.

    Returns
    -------
    LoadedModel

    Raises
    ------
    UnknownModelError, ModelFileError
        See :func:`mftscreen.model.files.registry.resolve_model` and
        :func:`mftscreen.model.files.bundle.read_bundle`.
    UnknownHeadError
        If a head does not exist, or an energy head has to be chosen; with `neural`, if
        a property has no neural head.
    UnknownPropertyError
        If neither model of ``mft-mini`` predicts `properties`.
    """
    name = DEFAULT_MODEL if source is None else source
    path, expected = resolve_model(
        name, properties=properties, domain=energy_head, progress=progress
    )
    if path.suffix == ".pt":
        return _load_checkpoint(path, energy_head, property_heads, device)
    bundle = _read_bundle(path, expected)
    network = DeepmdNetwork(read_state(bundle.checkpoint, path), device)
    card = bundle.card
    if energy_head is not None:
        card = card.model_copy(update={"energy_head": energy_head})
    sha256 = bundle.sha256
    if neural and any(head.readout for head in card.properties.values()):
        card = neural_card(path, card)
        sha256 = hashlib.sha256(f"{sha256} neural".encode()).hexdigest()
    check_card(path, card, network)
    return LoadedModel(
        card,
        network,
        sha256,
        bundle.reference,
        bundle.calibration,
        domain_of(name, path) if energy_head is None else None,
        _open_readouts(path, card, bundle, network),
    )


def _open_readouts(
    path: Path, card: ModelCard, bundle: Bundle, network: DeepmdNetwork
) -> dict[str, KernelReadout]:
    readouts = {}
    for name, head in card.properties.items():
        if head.readout is None:
            continue
        try:
            readouts[name] = KernelReadout.from_arrays(
                head.readout, bundle.readouts, name, network.width
            )
        except ModelFileError as error:
            msg = f"{path}: {error}"
            raise ModelFileError(msg) from error
    return readouts


def _load_checkpoint(
    path: Path,
    energy_head: str | None,
    property_heads: Sequence[str] | None,
    device: Device,
) -> LoadedModel:
    state, sha256 = read_checkpoint(path)
    parameters = model_parameters(state)
    energies = energy_branches(parameters)
    try:
        head, domain = choose_energy_head(energies, energy_head, find_domains(sha256))
    except UnknownHeadError as error:
        msg = f"{path}: {error}"
        raise UnknownHeadError(msg) from None
    # there may be dozens, each of which would be built
    kept = [name for name in parameters if name not in energies or name == head]
    network = DeepmdNetwork(keep_heads(state, {name: name for name in kept}), device)
    card = card_of_checkpoint(path, network, head, property_heads)
    return LoadedModel(card, network, sha256, {}, {}, domain)


def load_state(
    source: str | Path, *, progress: bool = False
) -> tuple[dict[str, Any], str]:
    """Return the weights of a model and their parameters, and the file's sha256.

    Parameters
    ----------
    source : str or Path
        As for :func:`load_model`, but one model: not ``mft-mini``, which is two.
    progress : bool, default False
        Whether a download shows its progress on stderr.

    Returns
    -------
    state : dict
        As :func:`mftscreen.model.files.reading.read_state` returns it; no head is
        built.
    sha256 : str

    Raises
    ------
    UnknownModelError, ModelFileError
        As :func:`load_model`.
    """
    if len(members := find_members(source)) > 1:
        msg = f"{source} is several models; name one: {', '.join(map(str, members))}"
        raise UnknownModelError(msg)
    path, expected = resolve_model(source, progress=progress)
    if path.suffix == ".pt":
        return read_checkpoint(path)
    bundle = _read_bundle(path, expected)
    return read_state(bundle.checkpoint, path), bundle.sha256


def _read_bundle(path: Path, expected: str | None) -> Bundle:
    """Return a model file, which has the sha256 that it must have, if any."""
    bundle = read_bundle(path)
    if expected is not None and bundle.sha256 != expected:
        msg = (
            f"{path} has sha256 {bundle.sha256}, expected {expected}; "
            "the installation is damaged, reinstall mftscreen"
        )
        raise ModelFileError(msg)
    return bundle
