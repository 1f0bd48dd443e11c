"""The pretrained model that a fine-tuning starts from."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mftscreen.errors import ConfigError, UnknownHeadError
from mftscreen.model.files.branches import (
    Branches,
    choose_energy_head,
    energy_branches,
    find_branch,
)
from mftscreen.model.files.bundle import DescriptorCard, read_bundle
from mftscreen.model.files.checkpoint import (
    keep_heads,
    keep_main_head,
    model_parameters,
)
from mftscreen.model.files.pretrained import find_domains
from mftscreen.model.files.registry import resolve_model
from mftscreen.model.loading import load_state
from mftscreen.properties import PropertySpec
from mftscreen.suggestions import did_you_mean

__all__ = [
    "FrozenDescriptor",
    "check_distinct",
    "check_quantities",
    "load_pretrained",
]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FrozenDescriptor:
    """A pretrained model whose descriptor kernels read as it is.

    Attributes
    ----------
    state : mapping
        Of its checkpoint, with one head.
    card : DescriptorCard
    """

    state: Mapping[str, Any]
    card: DescriptorCard

    @classmethod
    def of(cls, source: str, state: Mapping[str, Any], sha256: str) -> FrozenDescriptor:
        """Return a model with what it says of its origin.

        Parameters
        ----------
        source : str
        state, sha256
            What :func:`load_pretrained` returned for it.
        """
        path, _ = resolve_model(source)
        info = next(iter(model_parameters(state).values())).get("info", {})
        name, licence = info.get("name", path.stem), ""
        if path.suffix != ".pt":
            own = read_bundle(path).card
            if own.descriptors:  # it has kernels on a descriptor of another model
                return cls(state, own.descriptors[0])
            name, licence = own.name, own.licence
        card = DescriptorCard(
            name=str(name),
            sha256=sha256,
            licence=licence or str(info.get("licence", "")),
            citation=str(info.get("citation", "")),
        )
        return cls(state, card)

    @property
    def type_map(self) -> Sequence[str]:
        """Chemical symbols that it has parameters for."""
        head = next(iter(model_parameters(self.state).values()))
        symbols: Sequence[str] = head["type_map"]
        return symbols


def check_distinct(frozen: Sequence[FrozenDescriptor]) -> None:
    """Raise if two descriptors are of one model, which two names may stand for.

    Parameters
    ----------
    frozen : sequence of FrozenDescriptor

    Raises
    ------
    ConfigError
    """
    if len({own.card.sha256 for own in frozen}) < len(frozen):
        names = ", ".join(own.card.name for own in frozen)
        raise ConfigError([f"pretrained: a model stands in it twice: {names}"])


def load_pretrained(
    source: str,
    head: str | Mapping[str, str] | None = None,
    properties: Sequence[str] = (),
    *,
    keeps_force_field: bool = False,
    progress: bool = False,
) -> tuple[dict[str, Any], str]:
    """Return the state of a pretrained checkpoint, and the sha256 of its file.

    Parameters
    ----------
    source : str
        A registered name, a ``.mft`` file or a deepmd-kit ``.pt`` checkpoint.
    head : str or mapping of str to str, optional
        The force-field head that is needed; of a large pretrained model, ``crystals``
        and ``molecules`` stand for one each. In the state it has this name. Of several,
        the name that each is to have in the state to the one that it has in the model.
        By default the one that :func:`keep_main_head` keeps.
    properties : sequence of str, optional
        Heads to keep beside `head`; without it, they are not looked at. No other head
        is in the state.
    keeps_force_field : bool, default False
        Whether, without `head`, it is the force field that the model is used with, if
        there is one.
    progress : bool, default False
        Whether a download shows its progress on stderr.

    Returns
    -------
    state : dict
        As :func:`mftscreen.model.files.reading.read_state` returns it.
    sha256 : str

    Raises
    ------
    ModelError
        If there is no such model, or it cannot be read.
    UnknownHeadError
        If the model has no such head, or lacks one of the properties, or it is a
        checkpoint of several force fields and nothing says which to keep.
    """
    state, sha256 = load_state(source, progress=progress)
    branches = energy_branches(model_parameters(state))
    try:
        if head is None and keeps_force_field:
            head = _own_energy_head(source, branches, sha256)
        if head is None:
            # deepmd-kit cannot build more heads than its one-hot of data sets is long
            return keep_main_head(state), sha256
        wanted = {head: head} if isinstance(head, str) else head
        domains = find_domains(sha256)
        found = {new: find_branch(branches, h, domains) for new, h in wanted.items()}
    except UnknownHeadError as error:
        msg = f"pretrained model {source}: {error}"
        raise UnknownHeadError(msg) from None
    there = model_parameters(state).keys()
    if missing := sorted(set(properties) - there):
        names = ", ".join(missing)
        msg = f"pretrained model {source} has no head for transfer_properties: {names}"
        msg += did_you_mean(*missing, known=there - branches.keys())
        raise UnknownHeadError(msg)
    for new, old in found.items():
        if new != old:
            log.info("head %r of %s is its head %r", new, source, old)
    return keep_heads(state, found | {p: p for p in properties}), sha256


def _own_energy_head(source: str, branches: Branches, sha256: str) -> str | None:
    """Return the force-field head that a model is used with, if it has one.

    That on its card; of a checkpoint the only one, or of a large pretrained model that
    for crystals.
    """
    path, _ = resolve_model(source)
    if path.suffix != ".pt":
        return read_bundle(path).card.energy_head
    return choose_energy_head(branches, None, find_domains(sha256))[0]


def check_quantities(source: str, specs: Mapping[str, PropertySpec]) -> None:
    """Raise if heads that are taken over predict another quantity than they shall.

    Parameters
    ----------
    source : str
        The pretrained model. A ``.pt`` checkpoint does not say what its heads predict.
    specs : mapping of str to PropertySpec
        What the heads shall predict.

    Raises
    ------
    ConfigError
        If the unit of a property, or its transform, is not that on the model's card.
    ModelError
        If there is no such model, or it cannot be read.
    """
    path, _ = resolve_model(source)
    if path.suffix == ".pt":
        return
    card = read_bundle(path).card
    known = {
        (head.head, head.spec.index): head.spec
        for head in card.properties.values()
        if not head.spec.is_norm
    }
    if problems := [
        f"properties.{spec.target}.{key}: the head that transfer_properties takes over "
        f"has {theirs}, not {ours}"
        for spec in specs.values()
        if not spec.is_norm and (spec.target, spec.index) in known
        for own in [known[spec.target, spec.index]]
        for key, theirs, ours in [
            ("components", own.name, spec.name),
            ("unit", own.unit, spec.unit),
            ("transform", own.transform.kind, spec.transform.kind),
        ]
        if theirs != ours
    ]:
        raise ConfigError(problems)
