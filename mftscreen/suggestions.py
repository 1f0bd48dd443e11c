"""What was probably meant by a name that nothing has."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

__all__ = ["did_you_mean", "folded"]


def did_you_mean(
    *names: str, known: Iterable[str], aliases: Mapping[str, str] | None = None
) -> str:
    """Return a question to add to a message about names that nothing has.

    Parameters
    ----------
    *names : str
        The first one that is close to something known counts.
    known : iterable of str
        Names that there are.
    aliases : mapping of str to str, optional
        What else may be written to the name that it stands for.

    Returns
    -------
    str
        Empty if nothing is close. Lower and upper case, spaces, dashes and underscores
        make no difference.

    Examples
    --------
    >>> did_you_mean("Mft mni", known=["mft-mini", "7net-0"])
    "; did you mean 'mft-mini'?"
    >>> did_you_mean("melting_point", known=["gap"])
    ''
    """
    from difflib import get_close_matches  # a message needs it, and no start

    texts = {folded(text): meant for text, meant in (aliases or {}).items()}
    texts |= {folded(name): name for name in known}
    for name in names:
        for close in get_close_matches(folded(name), texts, n=1):
            return f"; did you mean {texts[close]!r}?"
    return ""


def folded(text: str) -> str:
    """Return what two ways of writing a name have in common.

    Examples
    --------
    >>> folded(" Refractive index"), folded("refractive-index")
    ('refractive_index', 'refractive_index')
    """
    return re.sub(r"[\s_-]+", "_", text.strip()).casefold()
