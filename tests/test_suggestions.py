from __future__ import annotations

from mftscreen.suggestions import did_you_mean


def test_the_first_name_that_is_close_to_one_counts() -> None:
    assert did_you_mean("zzz", "gpa", known=["gap"]) == "; did you mean 'gap'?"
    assert did_you_mean(known=["gap"]) == did_you_mean("gap", known=[]) == ""


def test_an_alias_is_answered_with_the_name_and_comes_after_it() -> None:
    aliases = {"Materials": "Omat24", "spice": "other"}
    hint = did_you_mean("material", known=["Omat24"], aliases=aliases)
    assert hint == "; did you mean 'Omat24'?"
    hint = did_you_mean("spice_", known=["SPICE"], aliases=aliases)
    assert hint == "; did you mean 'SPICE'?"
