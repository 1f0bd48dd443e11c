"""The progress of a diagnosis, for people."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["showing_stages"]


@contextmanager
def showing_stages(n_stages: int, shown: bool) -> Iterator[Callable[[str], None]]:
    """Show a bar on stderr, if that is a terminal.

    Parameters
    ----------
    n_stages : int
    shown : bool
        If not, nothing is shown.

    Yields
    ------
    callable
        Takes the name of the stage that begins.
    """
    from tqdm import tqdm

    with tqdm(
        total=n_stages,
        disable=None if shown else True,
        file=sys.stderr,
        # without a guess of the time left: stages are of very different length
        bar_format="{desc} |{bar}| stage {n_fmt} of {total_fmt} [{elapsed}]",
    ) as bar:

        def begin(stage: str) -> None:
            bar.update()
            bar.set_description(stage)

        yield begin
