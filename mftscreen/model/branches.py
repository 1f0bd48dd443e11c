"""Which head of a checkpoint is meant; its authors call them branches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from mftscreen.errors import UnknownHeadError

__all__ = ["Domain", "energy_branches", "find_branch"]

Domain = Literal["crystals", "molecules"]

Branches = Mapping[str, Mapping[str, Any]]


def energy_branches(parameters: Branches) -> dict[str, Mapping[str, Any]]:
    """Return the heads that predict energies.

    Parameters
    ----------
    parameters : mapping of str to mapping
        As :func:`mftscreen.model.checkpoint.model_parameters` gives them.

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
        If there is none; the message lists all.

    Examples
    --------
    >>> heads = {"Omat24": {"model_branch_alias": ["Materials"]}, "SPICE2": {}}
    >>> find_branch(heads, "materials"), find_branch(heads, "omat24")
    ('Omat24', 'Omat24')
    >>> find_branch(heads, "molecules", {"molecules": "SPICE2"})
    'SPICE2'
    """
    known = {head: head for head in parameters}
    for head, own in parameters.items():
        for alias in own.get("model_branch_alias", ()):
            known.setdefault(alias, head)
    meant = {str(domain): head for domain, head in (domains or {}).items()}
    for wanted in (name, meant.get(name)):
        if wanted in known:
            return known[wanted]
        for text, head in known.items():
            if wanted is not None and text.casefold() == wanted.casefold():
                return head
    msg = f"there is no head {name!r}; the heads are: {_list(parameters)}"
    if meant:
        msg += "; " + ", ".join(f"for {word}: {head}" for word, head in meant.items())
    raise UnknownHeadError(msg)


def _list(parameters: Branches) -> str:
    texts = []
    for head, own in parameters.items():
        aliases = ", ".join(own.get("model_branch_alias", ()))
        texts.append(f"{head} ({aliases})" if aliases else head)
    return ", ".join(texts) or "none"
