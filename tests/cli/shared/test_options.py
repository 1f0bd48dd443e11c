from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from mftscreen.cli.shared.options import (
    Finite,
    LocalPath,
    jobs_option,
    only_property,
    ranking_options,
    reranking_options,
)
from mftscreen.errors import UnknownPropertyError


def convert(kind: click.ParamType, text: str) -> object:
    return kind.convert(text, None, None)


def invoke(option: object, *arguments: str) -> Result:
    @click.command()
    def command(**values: object) -> None:
        click.echo(repr(values))

    return CliRunner().invoke(option(command), arguments)


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e999", "0", "1.5", "x"])
def test_only_finite_numbers_within_the_range(text: str) -> None:
    kind = Finite(0, 1, min_open=True)
    assert convert(kind, "0.25") == 0.25
    with pytest.raises(click.BadParameter):
        convert(kind, text)


def test_a_url_is_no_local_path_and_its_password_is_not_shown() -> None:
    assert convert(LocalPath(), "a/b.csv") == Path("a/b.csv")
    with pytest.raises(click.BadParameter, match="a local path is needed") as refused:
        convert(LocalPath(), "postgresql://ase:secret@host/pool")
    assert "secret" not in str(refused.value)


def test_an_empty_text_is_no_path() -> None:
    with pytest.raises(click.BadParameter, match="an empty path"):
        convert(LocalPath(), "")


def test_number_of_processes() -> None:
    assert "{'jobs': 1}" in invoke(jobs_option).output
    assert "{'jobs': -1}" in invoke(jobs_option, "-j", "-1").output
    for wrong in ("0", "-2", "many"):
        assert invoke(jobs_option, "-j", wrong).exit_code == 2


def test_what_is_ranked_again_has_no_defaults() -> None:
    first = eval(invoke(ranking_options).output)
    again = eval(invoke(reranking_options).output)
    assert again.pop("goals") == ()
    assert first.keys() == again.keys()
    assert None not in first.values()
    assert set(again.values()) == {None}
    assert (
        "[default: as in the screening]" in invoke(reranking_options, "--help").output
    )


def test_the_only_property_is_meant_if_there_is_no_choice(
    tiny_model: Path, checkpoint: Path
) -> None:
    assert only_property([str(tiny_model)]) == "gap"
    with pytest.raises(UnknownPropertyError, match=r"several properties; choose"):
        only_property([])
    with pytest.raises(UnknownPropertyError, match="deepmd-kit checkpoint, which has"):
        only_property([str(checkpoint)])
