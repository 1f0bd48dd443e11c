"""Which head of a checkpoint is meant; its authors call them branches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from mftscreen.errors import UnknownHeadError
from mftscreen.suggestions import did_you_mean

__all__ = [
    "Branches",
    "Domain",
    "choose_energy_head",
    "energy_branches",
    "find_branch",
    "main_head",
]

Domain = Literal["crystals", "molecules"]

Branches = Mapping[str, Mapping[str, Any]]
"""Heads by name, with deepmd-kit's parameters: what a checkpoint's authors say of them,
as :func:`mftscreen.model.files.checkpoint.model_parameters` gives it."""


def energy_branches(parameters: Branches) -> dict[str, Mapping[str, Any]]:
    """Return the heads that predict energies.

    Parameters
    ----------
    parameters : mapping of str to mapping
        As :func:`mftscreen.model.files.checkpoint.model_parameters` gives them.

    Returns
    -------
    dict of str to mapping

    Examples
    --------
    >>> heads = {"a": {"fitting_net": {}}, "b": {"fitting_net": {"type": "property"}}}
    >>> list(energy_branches(heads))
    ['a']
    """
    return {
        name: own
        for name, own in parameters.items()
        if str(own.get("fitting_net", {}).get("type", "ener")).endswith("ener")
    }


def find_branch(
    parameters: Branches, name: str, domains: Mapping[Domain, str] | None = None
) -> str:
    """Return the head that a name stands for.

    Parameters
    ----------
    parameters : mapping of str to mapping
        Heads to choose from, with deepmd-kit's parameters.
    name : str
        A head's name, one of the aliases that the checkpoint gives it, or one of
        `domains`. As in deepmd-kit, lower and upper case are alike, unless two names
        differ by nothing else.
    domains : mapping of str to str, optional
        Head by kind of structure.

    Returns
    -------
    str

    Raises
    ------
    UnknownHeadError
        If there is none, or a name stands for several; the message lists all.

    Examples
    --------
    >>> heads = {"Omat24": {"model_branch_alias": ["Materials"]}, "SPICE2": {}}
    >>> find_branch(heads, "materials"), find_branch(heads, "omat24")
    ('Omat24', 'Omat24')
    >>> find_branch(heads, "molecules", {"molecules": "SPICE2"})
    'SPICE2'
    """
    meant = {str(domain): head for domain, head in (domains or {}).items()}
    for wanted in (name, meant.get(name)):
        found = [] if wanted is None else _matches(parameters, wanted)
        if len(found) > 1:
            msg = (
                f"{wanted!r} may be any of the heads {', '.join(found)}; "
                "give one of these names"
            )
            raise UnknownHeadError(msg)
        if found:
            return found[0]
    msg = f"there is no head {name!r}; the heads are: {_list(parameters)}"
    if meant:
        msg += "; " + ", ".join(f"for {word}: {head}" for word, head in meant.items())
    msg += did_you_mean(name, known=parameters, aliases=_aliases(parameters) | meant)
    raise UnknownHeadError(msg)


def _matches(parameters: Branches, wanted: str) -> list[str]:
    """Return the heads that a name stands for, by the strictest rule that finds any."""
    if wanted in parameters:
        return [wanted]
    names = {
        h: [h, *own.get("model_branch_alias", ())] for h, own in parameters.items()
    }
    folded = wanted.casefold()
    return [head for head, texts in names.items() if wanted in texts] or [
        head for head, texts in names.items() if folded in map(str.casefold, texts)
    ]


def choose_energy_head(
    energies: Branches, wanted: str | None, domains: Mapping[Domain, str]
) -> tuple[str | None, Domain | None]:
    """Return the head for energies, and what it is for if nobody has chosen it.

    Parameters
    ----------
    energies : mapping of str to mapping
        Heads that predict energies, with deepmd-kit's parameters.
    wanted : str or None
        As :func:`find_branch` takes it, if somebody has chosen.
    domains : mapping of str to str
        Head by kind of structure; the first one is taken without a choice.

    Returns
    -------
    head : str or None
        None if there is none.
    domain : {"crystals", "molecules"} or None

    Raises
    ------
    UnknownHeadError
        If there is no such head, or several to choose from.

    Examples
    --------
    >>> choose_energy_head({"Omat24": {}, "OC22": {}}, None, {"crystals": "OMat24"})
    ('Omat24', 'crystals')
    """
    if wanted is not None:
        return find_branch(energies, wanted, domains), None
    if domains:
        domain, head = next(iter(domains.items()))
        return find_branch(energies, head), domain
    if len(energies) > 1:
        msg = (
            f"there are several energy heads ({', '.join(energies)}); "
            "choose one with energy_head="
        )
        raise UnknownHeadError(msg)
    return next(iter(energies), None), None


def main_head(parameters: Branches) -> str:
    """Return the head whose descriptor stands for the model: of a property, if any.

    Parameters
    ----------
    parameters : mapping of str to mapping
        Heads with deepmd-kit's parameters.

    Returns
    -------
    str

    Examples
    --------
    >>> heads = {"a": {"fitting_net": {}}, "b": {"fitting_net": {"type": "property"}}}
    >>> main_head(heads)
    'b'
    """
    energies = energy_branches(parameters)
    return next(iter([n for n in parameters if n not in energies] or parameters))


def _aliases(parameters: Branches) -> dict[str, str]:
    return {
        alias: head
        for head, own in parameters.items()
        for alias in own.get("model_branch_alias", ())
    }


def _list(parameters: Branches) -> str:
    texts = []
    for head, own in parameters.items():
        aliases = ", ".join(own.get("model_branch_alias", ()))
        texts.append(f"{head} ({aliases})" if aliases else head)
    return ", ".join(texts) or "none"
