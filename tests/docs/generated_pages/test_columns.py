"""Every result column is in the reference, with a meaning."""

from __future__ import annotations

from generated_pages.columns import columns_page

from mftscreen.screen.result.columns import result_columns


def test_every_column_has_a_meaning() -> None:
    (text,) = columns_page().values()
    for column in result_columns({"PROPERTY": "UNIT"}):
        assert column.label, column.name
        entry = text.split(f"`{column.name}` {{ #{column.name} }}\n:   ")[1]
        meaning = entry.split("\n")[0]
        assert column.label[1:].split(" ")[0] in meaning
        assert ("only if" in meaning) == column.optional
