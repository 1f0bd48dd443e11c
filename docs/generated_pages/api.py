"""The pages of the Python API: what mkdocstrings is to show, and where it stands."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import mftscreen

__all__ = ["PLUGIN_MODULES", "api_pages", "names_of", "public_paths"]

API, PLUGINS = "reference/api.md", "reference/plugins.md"

PLUGIN_MODULES = (
    "mftscreen.testing",
    "mftscreen.model.backbones",
    "mftscreen.model.backbones.seam",
    "mftscreen.head_forms",
    "mftscreen.model.heads",
    "mftscreen.finetune.strategies.plan",
    "mftscreen.data.readers.files",
    "mftscreen.data.readers.records",
    "mftscreen.screen.result.columns",
    "mftscreen.ood.splits.split",
    "mftscreen.ood.splits.split_rows",
)
"""What those who extend the package build on: all public names of each."""

_INTRODUCTION = """\
# Python API

All of these are imported from `mftscreen`: `from mftscreen import rank`. They are
loaded when they are first used. `mftscreen.__version__` is the version.

Units are eV, eV/Å, eV/Å³ (ASE's sign, Voigt order xx yy zz yz xz xy) and Å; those of
properties are on the model's card. [Errors](../troubleshooting.md) have a page of their
own.
"""

_PLUGINS = """\
# Plug-ins and seams

A backbone of another package is a subclass of `Architecture` that the package names in
its entry point group `mftscreen.backbones`. Heads, strategies, readers, splits and
result columns are modules within mftscreen; this page has what they are built from.
What is only used, and not extended, is the [API](api.md).
"""


def public_paths() -> dict[str, str]:
    """Return the public names of the package, and where each is defined.

    They are read from its imports for type checkers, so that nothing is loaded.
    """
    found = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(ast.parse(_source("mftscreen")))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    names = [name for name in mftscreen.__all__ if name != "__version__"]
    return {name: found[name] for name in names}


def api_pages() -> dict[str, str]:
    """Return the pages, by their path below the folder of the documentation."""
    names = [
        # what the page is linked by does not depend on where a name is defined
        f'<a id="{name}"></a>\n\n::: {path}\n{_options(show_root_heading=True)}'
        for name, path in public_paths().items()
    ]
    seams = [
        f"## {module} {{ #{module} }}\n\n::: {module}\n"
        + _options(members=names_of(module), heading_level=3)
        for module in PLUGIN_MODULES
    ]
    return {
        API: "\n".join([_INTRODUCTION, *names]),
        PLUGINS: "\n".join([_PLUGINS, *seams]),
    }


def names_of(module: str) -> list[str]:
    """Return the public names of a module, without importing it."""
    tree = ast.parse(_source(module))
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    return []


def _source(module: str) -> str:
    root = Path(mftscreen.__path__[0])
    place = root.joinpath(*module.split(".")[1:])
    path = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    return path.read_text(encoding="utf-8")


def _options(**options: Any) -> str:
    """Return options of mkdocstrings for one object, as YAML."""
    return f"    options: {json.dumps(options)}\n"
