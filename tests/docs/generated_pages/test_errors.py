"""Every error and warning is explained, with its cause and what helps."""

from __future__ import annotations

import re

import pytest
from generated_pages.errors import error_classes, errors_page

from mftscreen import errors
from mftscreen.data.readers import UnknownFormatError
from mftscreen.errors import MftscreenError
from mftscreen.screen.candidates.elements import FilteredError

(TEXT,) = errors_page().values()


def _tree(kind: type[MftscreenError]) -> set[type[Exception]]:
    return {kind}.union(*map(_tree, kind.__subclasses__()))


def test_all_classes_are_found() -> None:
    found = set(error_classes())
    assert {getattr(errors, name) for name in errors.__all__} <= found
    assert {FilteredError, UnknownFormatError} <= found
    public = {e for e in _tree(MftscreenError) if not e.__name__.startswith("_")}
    assert {e for e in public if e.__module__.startswith("mftscreen.")} <= found


@pytest.mark.parametrize("kind", error_classes(), ids=lambda kind: kind.__name__)
def test_class_has_cause_and_remedy(kind: type[Exception]) -> None:
    section = TEXT.split(f"## {kind.__name__} {{ #{kind.__name__} }}\n")[1]
    section = section.split("\n## ")[0]
    assert re.search(r"^\*\*Cause:\*\* \w", section, re.MULTILINE)
    assert re.search(r"^\*\*Remedy:\*\* [\w`]", section, re.MULTILINE)
    status = vars(kind).get("status")
    assert status is None or f"Status: `{status}`" in section
    assert status is None or f"| `{status}` |" in TEXT
