"""Cards and the heads that they are of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mftscreen.errors import ModelFileError, UnknownHeadError
from mftscreen.model.files.bundle import ModelCard, PropertyHead
from mftscreen.model.network.backend import DeepmdNetwork
from mftscreen.model.network.rebuilding import Head
from mftscreen.model.network.side_by_side import Network
from mftscreen.properties import Part, PropertySpec, by_target
from mftscreen.suggestions import did_you_mean

__all__ = ["card_of_checkpoint", "check_card", "neural_card"]


def check_card(path: Path, card: ModelCard, network: Network) -> None:
    """Raise if a card's heads are not those of its checkpoint.

    Parameters
    ----------
    path : Path
        Of the model, for the message.
    card : ModelCard
    network : DeepmdNetwork or SideBySide

    Raises
    ------
    UnknownHeadError
        If the checkpoint lacks a head, or that is of another kind.
    ModelFileError
        If a head predicts another property than the card says, nothing predicts one,
        one was trained on elements that the checkpoint does not know, or components of
        a target are missing.
    """
    neural = {n: h.head for n, h in card.properties.items() if h.head is not None}
    named = dict.fromkeys(neural.values(), "property")
    if card.energy_head is not None:
        named[card.energy_head] = "energy"
    for head, kind in named.items():
        found = network.heads.get(head)
        if found is None or found.kind != kind:
            heads = ", ".join(f"{h.name} ({h.kind})" for h in network.heads.values())
            msg = f"{path}: no {kind} head {head!r} in the checkpoint; it has {heads}"
            same = [h.name for h in network.heads.values() if h.kind == kind]
            msg += did_you_mean(head, known=same)
            raise UnknownHeadError(msg)
    for name, own in neural.items():
        listed, found = card.properties[name], network.heads[own]
        if (found.variable, found.form.name) != (listed.spec.target, listed.spec.head):
            msg = (
                f"{path}: the card says that head {listed.head!r} predicts {name} "
                f"({listed.spec.head}), the checkpoint that it predicts "
                f"{found.variable} ({found.form.name})"
            )
            raise ModelFileError(msg)
    _check_components(path, card, network)
    for name, listed in card.properties.items():
        if listed.head is None and listed.readout is None:
            msg = f"{path}: the card names nothing that predicts {name}"
            raise ModelFileError(msg)
        if unknown := set(listed.elements) - set(network.type_map):
            msg = (
                f"{path}: the card says that {name} was trained on "
                f"{', '.join(sorted(unknown))}, which the checkpoint does not know"
            )
            raise ModelFileError(msg)


def _check_components(path: Path, card: ModelCard, network: Network) -> None:
    """Raise if not each number of a target is a property, and predicted alike."""
    for target, specs in by_target(p.spec for p in card.properties.values()).items():
        listed = [card.properties[spec.name] for spec in specs]
        places = sorted(spec.index for spec in specs if not spec.is_norm)
        heads = {head.head for head in listed}
        n = len(places)
        if len(heads) == 1 and (head := next(iter(heads))) is not None:
            n = network.heads[head].n_components
        readouts = [head.readout for head in listed]
        if readouts[0] is not None:
            n = readouts[0].n_components
        if (
            places != list(range(n))
            or len(heads) > 1
            or any(readout != readouts[0] for readout in readouts)
        ):
            msg = (
                f"{path}: the card does not say of each of the {n} numbers of {target} "
                "which property it is"
            )
            raise ModelFileError(msg)


def neural_card(path: Path, card: ModelCard) -> ModelCard:
    """Return a card whose properties are predicted by neural heads.

    Parameters
    ----------
    path : Path
        Of the model, for the message.
    card : ModelCard

    Returns
    -------
    ModelCard

    Raises
    ------
    UnknownHeadError
        If a property has none.
    """
    if missing := [n for n, head in card.properties.items() if head.head is None]:
        msg = f"{path}: there is no neural head for {', '.join(missing)}"
        raise UnknownHeadError(msg)
    # what is said of errors is said of the kernel
    changes: dict[str, Any] = {"readout": None, "metrics": {}, "n_calibration": 0}
    heads = {
        name: head.model_copy(update=changes if head.readout else {})
        for name, head in card.properties.items()
    }
    return card.model_copy(update={"properties": heads})


def card_of_checkpoint(
    path: Path,
    network: DeepmdNetwork,
    energy_head: str | None,
    property_heads: Sequence[str] | None,
) -> ModelCard:
    """Return a card that says what can be known of a bare checkpoint.

    Parameters
    ----------
    path : Path
    network : DeepmdNetwork
    energy_head : str or None
    property_heads : sequence of str, optional
        The property heads to offer; all by default.

    Returns
    -------
    ModelCard

    Raises
    ------
    UnknownHeadError
        If there is no such head, or two predict the same property.
    ModelFileError
        If a property has a name that none can have.
    """
    chosen = network.property_heads() if property_heads is None else property_heads
    properties: dict[str, PropertyHead] = {}
    predicted: dict[str, str] = {}
    for name in chosen:
        head = network.heads.get(name)
        if head is None or head.kind != "property":
            known = network.property_heads()
            listed = ", ".join(known) or "none"
            msg = f"{path} has no property head {name!r}; its property heads: {listed}"
            msg += did_you_mean(name, known=known)
            raise UnknownHeadError(msg)
        if head.variable in predicted:
            msg = (
                f"{path}: heads {predicted[head.variable]!r} and {name!r} both predict "
                f"{head.variable!r}; choose one with property_heads="
            )
            raise UnknownHeadError(msg)
        predicted[head.variable] = name
        try:
            specs = _bare_specs(head)
        except ValidationError as error:
            msg = f"{path}: head {name!r}: {error.errors()[0]['msg']}"
            raise ModelFileError(msg) from error
        for spec in specs:
            properties[spec.name] = PropertyHead(
                spec=spec,
                head=name,
                elements=list(network.type_map),
                n_train=0,
                train_range=(float("-inf"), float("inf")),
                training_set="unknown (a bare checkpoint has no card)",
                training_hash="",
            )
    card = ModelCard(
        name=path.stem,
        strategy="unknown",
        energy_head=energy_head,
        properties=properties,
    )
    check_card(path, card, network)
    return card


def _bare_specs(head: Head) -> list[PropertySpec]:
    """Return the properties of a head, of which nobody has said more."""
    name, form = head.variable, head.form.name
    if head.n_components == 1:
        return [PropertySpec(name=name, label=name, head=form)]
    return [
        PropertySpec(
            name=f"{name}_{k}",
            label=f"{name}, {k}",
            head=form,
            part=Part(of=name, index=k),
        )
        for k in range(head.n_components)
    ]
