"""What MkDocs calls while it builds the site."""

from __future__ import annotations

from typing import Any

from generated_pages.api import api_pages
from generated_pages.columns import columns_page
from generated_pages.commands import command_pages
from generated_pages.configuration import configuration_page
from generated_pages.errors import errors_page
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

__all__ = ["on_files"]

_PAGES = (api_pages, columns_page, command_pages, configuration_page, errors_page)


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages that are made of the code, and fill folders into the navigation.

    Parameters
    ----------
    files : Files
        Those of the folder of the documentation.
    config : MkDocsConfig
        Its ``nav`` may have a folder, such as ``how-to/``, in place of a list of pages.
    """
    for make in _PAGES:
        for path, text in make().items():
            files.append(File.generated(config, path, content=text))
    pages = [file.src_uri for file in files.documentation_pages()]
    config.nav = [entry for item in config.nav or [] for entry in _filled(item, pages)]
    return files


def _filled(item: Any, pages: list[str]) -> list[Any]:
    """Return an entry of the navigation, or the pages of the folder that it names.

    A folder without pages is left out.
    """
    if isinstance(item, dict):
        ((title, content),) = item.items()
        if isinstance(content, str) and not content.endswith("/"):
            return [item]
        inner = content if isinstance(content, list) else [content]
        kept = [entry for each in inner for entry in _filled(each, pages)]
        return [{title: kept}] if kept else []
    if item.endswith("/"):
        found = [page for page in pages if page.startswith(item)]
        # the page of the folder itself comes first
        return sorted(found, key=lambda page: page != f"{item}index.md")
    return [item]
