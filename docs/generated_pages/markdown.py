"""Texts of the code as Markdown."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence

__all__ = ["definition", "escape", "from_docstring", "from_help", "table"]

_SPECIAL = re.compile(r"([\\`*_{}\[\]|~^])")
_CODE_IN_HELP = re.compile(
    r"'(mftscreen [^']*)'|(?<![\w-])(--[a-z][\w-]*|-[a-zA-Z](?![\w-]))"
)
_ROLE = re.compile(r":(?:[a-z]+:)?[a-z]+:`~?([^`]+)`")
_DOUBLE = re.compile(r"``(.+?)``", re.DOTALL)


def escape(text: str) -> str:
    r"""Return a text in which no character has a meaning for Markdown.

    Parameters
    ----------
    text : str

    Examples
    --------
    >>> escape("a_b < c")
    'a\\_b &lt; c'
    """
    plain = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", plain)


def from_help(text: str) -> str:
    """Return a help text of the command line; its commands and options are code.

    Parameters
    ----------
    text : str

    Examples
    --------
    >>> from_help("See 'mftscreen models list' and --model.")
    'See `mftscreen models list` and `--model`.'
    """
    parts, end = [], 0
    for match in _CODE_IN_HELP.finditer(text):
        parts += [escape(text[end : match.start()]), f"`{match[1] or match[2]}`"]
        end = match.end()
    return "".join([*parts, escape(text[end:])])


def from_docstring(text: str) -> str:
    """Return a docstring's text, whose code and references are code of Markdown.

    Parameters
    ----------
    text : str
        Already without its indentation.

    Examples
    --------
    >>> from_docstring("``pbc`` of :class:`ase.Atoms`")
    '`pbc` of `ase.Atoms`'
    """
    return _DOUBLE.sub(r"`\1`", _ROLE.sub(r"`\1`", text))


def definition(term: str, anchor: str, paragraphs: Iterable[str]) -> str:
    """Return an entry of a list of definitions.

    Parameters
    ----------
    term : str
        In Markdown.
    anchor : str
        What a link to it ends in, after ``#``.
    paragraphs : iterable of str
        In Markdown; empty ones are left out.
    """
    texts = [text for text in paragraphs if text] or ["—"]
    body = "\n\n".join(texts)
    return f"{term} {{ #{anchor} }}\n:   {textwrap.indent(body, '    ').lstrip()}\n"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table.

    Parameters
    ----------
    header : sequence of str
    rows : iterable of sequence of str
        In Markdown; line breaks become spaces.
    """
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        "| " + " | ".join(" ".join(cell.split()) for cell in line) + " |"
        for line in lines
    )
