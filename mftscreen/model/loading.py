"""Models from names and files."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mftscreen.errors import (
    ModelFileError,
    UnknownHeadError,
    UnknownModelError,
)
from mftscreen.model.files.branches import choose_energy_head, energy_branches
from mftscreen.model.files.bundle import Bundle, ModelCard, read_bundle
from mftscreen.model.files.cards import card_of_checkpoint, check_card, neural_card
from mftscreen.model.files.checkpoint import keep_heads, model_parameters
from mftscreen.model.files.pretrained import find_domains
from mftscreen.model.files.reading import read_checkpoint, read_state
from mftscreen.model.files.registry import (
    DEFAULT_MODEL,
    domain_of,
    find_members,
    resolve_model,
)
from mftscreen.model.loaded_model import LoadedModel, Model
from mftscreen.model.network.backend import DeepmdNetwork, Device
from mftscreen.model.network.side_by_side import Network, side_by_side
from mftscreen.model.readouts.kernel import KernelReadout
from mftscreen.trust.neighborhood import Neighborhood, open_neighborhoods

__all__ = ["load_model", "load_state", "open_model"]

log = logging.getLogger(__name__)


def load_model(
    source: str | Path | None = None,
    *,
    properties: Collection[str] = (),
    energy_head: str | None = None,
    property_heads: Sequence[str] | None = None,
    neural: bool = False,
    check_domain: bool = True,
    device: Device = "auto",
    progress: bool = False,
) -> LoadedModel:
    """Load a model by name or path.

    Parameters
    ----------
    source : str or Path, optional
        Name of a registered model, path of a ``.mft`` file or of the folder of a
        training, or path of a stock deepmd-kit ``.pt`` checkpoint. By default the
        shipped ``mft-mini``. A large pretrained model (``DPA-3.1-3M``) is downloaded
        when it is first used.
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
        Whether neural heads predict where the model has kernels in their place. There
        are no intervals then, since errors are known of the kernels, and the model's
        sha256 is another one, so that results are told apart.
    check_domain : bool, default True
        Whether to refuse structures that heads were not made for; see
        :meth:`LoadedModel.judge_domain`.
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
        model = _load_checkpoint(path, energy_head, property_heads, device)
        return replace(model, lenient=not check_domain)
    bundle = _read_bundle(path, expected)
    network = _open_network(path, bundle, device)
    card = bundle.card
    if energy_head is not None:
        card = card.model_copy(update={"energy_head": energy_head})
    sha256, calibration = bundle.sha256, bundle.calibration
    if neural and any(head.readout for head in card.properties.values()):
        card, calibration = neural_card(path, card), {}
        sha256 = hashlib.sha256(f"{sha256} neural".encode()).hexdigest()
    check_card(path, card, network)
    return LoadedModel(
        card,
        network,
        sha256,
        bundle.reference,
        calibration,
        domain_of(name, path) if energy_head is None else None,
        _open_readouts(path, card, bundle, network),
        _open_neighborhoods(path, card, bundle, network),
        not check_domain,
    )


def open_model(
    model: str | Path | Model | None,
    *,
    properties: Collection[str] = (),
    energy_head: str | None = None,
    property_heads: Sequence[str] | None = None,
    check_domain: bool = True,
    device: Device = "auto",
) -> Model:
    """Load a model, unless it is loaded already.

    Parameters
    ----------
    model : str, Path or Model, optional
    properties, energy_head, property_heads, check_domain, device
        See :func:`load_model`.

    Returns
    -------
    Model

    Raises
    ------
    ValueError
        If heads are given for a model that is loaded already, or `check_domain` is
        False for one that is not lenient.
    UnknownModelError, ModelFileError, UnknownHeadError, UnknownPropertyError
        See :func:`load_model`.
    """
    if model is None or isinstance(model, str | Path):
        return load_model(
            model,
            properties=properties,
            energy_head=energy_head,
            property_heads=property_heads,
            check_domain=check_domain,
            device=device,
        )
    if energy_head is not None or property_heads is not None:
        msg = "heads are chosen when a model is loaded, with load_model"
        raise ValueError(msg)
    if not check_domain and not model.lenient:
        msg = "load the model with load_model(..., check_domain=False)"
        raise ValueError(msg)
    return model


def _open_network(path: Path, bundle: Bundle, device: Device) -> Network:
    states = [read_state(bundle.checkpoint, path), *_further_states(path, bundle)]
    try:
        return side_by_side([DeepmdNetwork(state, device) for state in states])
    except ModelFileError as error:
        msg = f"{path}: {error}"
        raise ModelFileError(msg) from error


def _further_states(path: Path, bundle: Bundle) -> Iterator[dict[str, Any]]:
    """Yield the states of checkpoints that are there for their descriptors."""
    for member, content in bundle.further.items():
        state = read_state(content, f"{path}: {member}")
        if (n_heads := len(model_parameters(state))) != 1:
            msg = f"{path}: {member} has {n_heads} heads, of which one is needed"
            raise ModelFileError(msg)
        yield state


def _open_readouts(
    path: Path, card: ModelCard, bundle: Bundle, network: Network
) -> dict[str, KernelReadout]:
    readouts: dict[str, KernelReadout] = {}
    for head in card.properties.values():
        name = head.spec.target
        if head.readout is None or name in readouts:
            continue
        if not network.shares_descriptor:
            msg = f"{path}: there are several descriptors; which is {name}'s?"
            raise ModelFileError(msg)
        spec = head.spec
        if head.readout.per_atom == spec.intensive and not spec.form.molecular:
            msg = f"{path}: {name} does not grow with the cell as its kernel does"
            raise ModelFileError(msg)
        try:
            readouts[name] = KernelReadout.from_arrays(
                head.readout, bundle.readouts, name, network.width
            )
        except ModelFileError as error:
            msg = f"{path}: {error}"
            raise ModelFileError(msg) from error
    return readouts


def _open_neighborhoods(
    path: Path, card: ModelCard, bundle: Bundle, network: Network
) -> list[Neighborhood]:
    # of several descriptors, it is not known which they are of
    if not network.shares_descriptor:
        return []
    try:
        found = open_neighborhoods(bundle.neighborhoods, network.width)
    except ModelFileError as error:
        msg = f"{path}: {error}"
        raise ModelFileError(msg) from error
    names = {name for each in found for name in each.labels}
    if foreign := names - set(card.properties):
        msg = f"{path}: training rows of {', '.join(sorted(foreign))}, not on the card"
        raise ModelFileError(msg)
    return found


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
        built. Of several descriptors side by side it has the first; the log says so.
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
    if bundle.further:
        log.warning(
            "%s has the descriptors of %s side by side; only that of %s is used here",
            source,
            ", ".join(own.name for own in bundle.card.descriptors),
            bundle.card.descriptors[0].name,
        )
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
