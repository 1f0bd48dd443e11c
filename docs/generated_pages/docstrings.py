"""An extension of griffe: docstrings with Markdown in place of Sphinx's roles."""

from __future__ import annotations

import re
from typing import Any

import griffe

from generated_pages.markdown import from_docstring

__all__ = ["Docstrings"]

_MATH = re.compile(r"^( *)\.\. math::\n((?:\n|\1 +.*\n?)+)", re.MULTILINE)
_LITERAL = re.compile(r"::(\s*)$", re.MULTILINE)
_CITATION = re.compile(r"\[(\d+)\]_")
# griffe takes the first of {'a', 'b'} for the default
_CHOICES = re.compile(r"^( *\w+(?:, \w+)* : )\{(.+?)\}", re.MULTILINE)
# and that of the first of several names for the default of all
_NAMES = re.compile(r"^( *)(\w+(?:, \w+)+) : (.+\n?(?:\1 +.+\n?)*)", re.MULTILINE)


class Docstrings(griffe.Extension):
    """Rewrites each docstring before it is parsed."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of an object that was just read."""
        if obj.docstring is not None:
            obj.docstring.value = _rewritten(obj.docstring.value)


def _rewritten(text: str) -> str:
    """Return a docstring in Markdown, in which each parameter stands by itself.

    Examples
    --------
    >>> _rewritten("As :func:`f` does [1]_::")
    'As `f` does [1]:'
    """
    text = _CHOICES.sub(r"\1one of \2", _NAMES.sub(_apart, text))
    text = _MATH.sub(lambda match: f"\n{_indented(match[2])}\n", text)
    return from_docstring(_CITATION.sub(r"[\1]", _LITERAL.sub(r":\1", text)))


def _apart(match: re.Match[str]) -> str:
    """Return what several parameters have in common, once for each of them."""
    return "".join(
        f"{match[1]}{name} : {match[3].rstrip()}\n" for name in match[2].split(", ")
    )


def _indented(formula: str) -> str:
    """Return a formula as a block of code, four characters further right."""
    return re.sub(r"^(?=.)", "    ", formula.strip("\n"), flags=re.MULTILINE)
