from __future__ import annotations

from mftscreen.console.text_table import text_table

LINES = [["part", "mae", "r2"], ["OOD test", "0.25", ""]]


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert text_table(LINES) == "part      mae   r2\nOOD test  0.25\n"


def test_last_alignment_and_width_go_for_all_further_columns() -> None:
    assert text_table(LINES, "<>", (10, 5)) == (
        "part          mae     r2\nOOD test     0.25\n"
    )


def test_braces_are_text() -> None:
    assert text_table([["{x}", "%s"]]) == "{x}  %s\n"


def test_nothing() -> None:
    assert text_table([]) == ""
