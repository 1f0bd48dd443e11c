from __future__ import annotations

import io
import sys

import pytest

from mftscreen.console.progress import progress_bar, showing_stages


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    # not as a fixture: pytest puts its own stderr back before the test begins
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    return stream


def test_bar_counts_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = on_terminal(monkeypatch)
    assert list(progress_bar("abc", shown=True, unit="letter")) == ["a", "b", "c"]
    assert "3/3" in stderr.getvalue()


def test_nothing_is_shown_if_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = on_terminal(monkeypatch)
    with progress_bar(shown=False, total=2) as bar:
        bar.update()
    assert stderr.getvalue() == ""


def test_nothing_is_shown_without_a_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert list(progress_bar([1, 2], shown=True)) == [1, 2]
    assert capsys.readouterr().err == ""


def test_stages_have_names_and_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = on_terminal(monkeypatch)
    with showing_stages(2, shown=True) as begin:
        begin("descriptors")
        begin("clusters")
    assert "clusters |" in stderr.getvalue()
    assert "stage 2 of 2" in stderr.getvalue()
