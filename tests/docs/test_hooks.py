"""The navigation, and that pages of the code are among those of the folder."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("mkdocs")

import hooks
from mkdocs.config import load_config
from mkdocs.structure.files import get_files

ROOT = Path(__file__).parents[2]


def test_a_folder_in_the_navigation_stands_for_its_pages() -> None:
    pages = ["how-to/a.md", "how-to/deep/index.md", "how-to/index.md", "index.md"]
    assert hooks._filled({"How-to": "how-to/"}, pages) == [
        {"How-to": ["how-to/index.md", "how-to/a.md", "how-to/deep/index.md"]}
    ]
    assert hooks._filled({"Start": ["index.md", "start/"]}, pages) == [
        {"Start": ["index.md"]}
    ]
    assert hooks._filled({"Tutorials": "tutorials/"}, pages) == []


def test_the_site_has_all_pages_of_the_reference() -> None:
    config = load_config(str(ROOT / "mkdocs.yml"))
    files = config.plugins.run_event("files", get_files(config), config=config)
    found = {file.src_uri for file in files.documentation_pages()}
    assert {
        "index.md", "reference/files.md", "reference/api.md", "reference/plugins.md",
        "reference/cli/rank.md", "reference/columns.md", "reference/configuration.md",
        "troubleshooting.md",
    } <= found  # fmt: skip
    # generated ones are in no commit
    assert not (ROOT / "docs" / "troubleshooting.md").exists()
    assert not (ROOT / "docs" / "reference" / "cli").exists()
    # the hooks themselves are no part of the site
    assert not any(file.src_uri.endswith(".py") for file in files if not file.inclusion)
