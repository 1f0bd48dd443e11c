"""Progress on stderr: bars, if that is a terminal or a notebook's; or lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm import tqdm

__all__ = ["progress_bar", "progress_line", "showing_stages"]


def progress_bar(
    items: Iterable[Any] | None = None, *, shown: bool, **options: Any
) -> tqdm[Any]:
    """Return a bar that counts items, or what its ``update`` is told.

    Parameters
    ----------
    items : iterable, optional
        To iterate over by way of the bar.
    shown : bool
        If not, nothing is shown.
    **options
        As :class:`tqdm.tqdm` takes them: ``total``, ``unit``, ``desc`` …

    Returns
    -------
    tqdm
    """
    from tqdm import tqdm

    # None: unless stderr is a terminal; that of a notebook is not, and shows bars
    disable = (False if "ipykernel" in sys.modules else None) if shown else True
    return tqdm(items, disable=disable, file=sys.stderr, **options)


def progress_line(text: str) -> None:
    """Write a line with the time of day on stderr, for where a bar is not shown."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stderr.flush()


@contextmanager
def showing_stages(n_stages: int, shown: bool) -> Iterator[Callable[[str], None]]:
    """Show a bar of a few stages that have names.

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
    # without a guess of the time left: stages are of very different length
    layout = "{desc} |{bar}| stage {n_fmt} of {total_fmt} [{elapsed}]"
    with progress_bar(shown=shown, total=n_stages, bar_format=layout) as bar:

        def begin(stage: str) -> None:
            bar.update()
            bar.set_description_str(stage)

        yield begin
