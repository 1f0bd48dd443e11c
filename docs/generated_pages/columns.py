"""The page of result columns, from their declarations."""

from __future__ import annotations

from generated_pages.markdown import definition, from_help
from mftscreen.screen.result.columns import Column, result_columns

__all__ = ["columns_page"]

PAGE = "reference/columns.md"

_INTRODUCTION = """\
# Result columns

`mftscreen rank`, `results` and `predict` write these columns to CSV, JSON lines,
Parquet, an `ase.db` and the report; `ScreenResult.to_pandas()` has them, too, and
conditions (`mftscreen results query RUN 'gap > 2 and not ood'`, or as ASE spells it,
`'gap>2,ood=False'`) are made of them.
`PROPERTY` stands for the name of each property that is asked for, such as `gap`; its
unit is that of the model's card. `predict` writes those that a structure by itself can
have, with `file` and, where it is asked for, `energy` (eV) beside them.

What a source says of candidates follows with `--carry`, under its own names; under
`source_NAME` where a column here has that name.
"""


def columns_page() -> dict[str, str]:
    """Return the page, by its path below the folder of the documentation."""
    entries = [_entry(column) for column in result_columns({"PROPERTY": "UNIT"})]
    return {PAGE: "\n".join([_INTRODUCTION, *entries])}


def _entry(column: Column) -> str:
    kind = {"flag": "true or false", "id": "a text"}.get(column.kind, "")
    when = "only if a candidate has a value" if column.optional else ""
    remarks = "; ".join(filter(None, (kind, when)))
    label = from_help(column.label)
    text = f"{label[:1].upper()}{label[1:]}."
    term = f"`{column.name}`"
    return definition(term, column.name, [f"{text} *({remarks})*" if remarks else text])
