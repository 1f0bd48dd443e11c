"""The page of errors and warnings, from their docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import mftscreen
from generated_pages.markdown import from_docstring, table
from mftscreen.cli import EXIT_CODES
from mftscreen.cli.explain import STATUSES, docstring_text
from mftscreen.errors import MftscreenError

__all__ = ["error_classes", "errors_page"]

PAGE = "troubleshooting.md"

_PUBLIC = re.compile(r"^class [A-Z]\w*(Error|Warning)\(", re.MULTILINE)

_INTRODUCTION = """\
# Troubleshooting

Every error that mftscreen raises on purpose is a `MftscreenError`, and also what
Python, ASE or scikit-learn raises for such a fault, so that code which catches that
goes on working. `mftscreen --traceback …` shows where an error comes from, and
`mftscreen explain NAME` prints what is below; on a terminal, errors name this command.

A candidate that cannot be evaluated stops nothing: it is a row whose `status` names the
fault and whose `reason` is the message.
"""


def error_classes() -> list[type[Exception]]:
    """Return the public errors and warnings of the package, parents first."""
    found: list[type[Exception]] = []
    root = Path(mftscreen.__path__[0])
    for path in sorted(root.rglob("*.py"), key=lambda p: (len(p.parts), p)):
        if not _PUBLIC.search(path.read_text(encoding="utf-8")):
            continue
        parts = path.relative_to(root.parent).with_suffix("").parts
        module = import_module(".".join(parts))
        found += [
            kind
            for kind in vars(module).values()
            if inspect.isclass(kind)
            and issubclass(kind, MftscreenError | Warning)
            and kind.__module__ == module.__name__
            and not kind.__name__.startswith("_")
        ]
    return found


def errors_page() -> dict[str, str]:
    """Return the page, by its path below the folder of the documentation."""
    classes = error_classes()
    statuses = dict(STATUSES)
    for kind in classes:
        status = vars(kind).get("status")
        if status:
            statuses[status] = f"[`{kind.__name__}`](#{kind.__name__})"
    codes = [(str(code), meaning) for code, meaning in EXIT_CODES.items()]
    parts = [
        _INTRODUCTION,
        "Every command ends with one of these exit codes:",
        table(("exit code", "meaning"), codes),
        *map(_section, classes),
    ]
    parts += [
        "## Values of `status` { #status }",
        table(("status", "meaning"), [(f"`{k}`", v) for k, v in statuses.items()]),
    ]
    return {PAGE: "\n\n".join(parts) + "\n"}


def _section(kind: type[Exception]) -> str:
    # what follows the text is for the page of the API
    text = docstring_text(kind)
    bold = re.sub(r"^(Cause|Remedy): ", r"**\1:** ", text, flags=re.MULTILINE)
    parents = ", ".join(_parents(kind))
    status = vars(kind).get("status")
    facts = f"A kind of {parents}." + (f" Status: `{status}`." if status else "")
    heading = f"## {kind.__name__} {{ #{kind.__name__} }}"
    return "\n\n".join([heading, from_docstring(bold), facts])


def _parents(kind: type[Exception]) -> Iterator[str]:
    for parent in kind.__bases__:
        own = parent.__module__.startswith("mftscreen")
        name = f"`{parent.__name__}`"
        yield f"[{name}](#{parent.__name__})" if own else name
