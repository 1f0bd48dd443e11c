"""Every public name is in the reference."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
from generated_pages.api import PLUGIN_MODULES, api_pages, names_of, public_paths

import mftscreen

PAGES = api_pages()


def test_every_public_name_is_shown() -> None:
    text = PAGES["reference/api.md"]
    paths = public_paths()
    assert {*paths, "__version__"} == set(mftscreen.__all__)
    assert "`mftscreen.__version__`" in text
    for name, path in paths.items():
        assert f'<a id="{name}"></a>\n\n::: {path}\n' in text


@pytest.mark.parametrize("path", public_paths().values())
def test_paths_lead_to_what_is_public(path: str) -> None:
    module, _, name = path.rpartition(".")
    found = getattr(import_module(module), name)
    public = getattr(mftscreen, name)
    # the package of this name is its function, called
    assert found is public or name == "finetune"


def test_seams_show_all_public_names_of_their_modules() -> None:
    text = PAGES["reference/plugins.md"]
    root = Path(mftscreen.__path__[0]).parent
    for module in PLUGIN_MODULES:
        assert f"\n::: {module}\n" in text
        place = root.joinpath(*module.split("."))
        assert place.is_dir() or place.with_suffix(".py").is_file()
    assert names_of("mftscreen.testing") == [
        "FakeModel",
        "check_backbone",
        "check_model",
    ]
    assert '"check_backbone"' in text
