"""Texts that would mean something else to Markdown."""

from __future__ import annotations

from generated_pages.markdown import definition, from_help, table


def test_help_keeps_its_characters() -> None:
    assert from_help("gap:max*2, a_b, --keep 5% of 'mass<=90'; -g 'x|y'") == (
        r"gap:max\*2, a\_b, `--keep` 5% of 'mass&lt;=90'; `-g` 'x\|y'"
    )


def test_cells_of_a_table_are_one_line() -> None:
    assert table(("a", "b"), [("1", "two\nlines")]) == (
        "| a | b |\n| --- | --- |\n| 1 | two lines |"
    )


def test_paragraphs_of_a_definition_belong_to_it() -> None:
    assert definition("`k`", "k", ["one", "", "two"]) == (
        "`k` { #k }\n:   one\n\n    two\n"
    )
    assert definition("`k`", "k", [""]) == "`k` { #k }\n:   —\n"
