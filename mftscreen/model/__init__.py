"""Models: files, networks, and where their weights come from."""

from __future__ import annotations

import logging


def _is_no_advice(record: logging.LogRecord) -> bool:
    """Tell other messages from deepmd-kit's advice on threads, at every import."""
    return not str(record.msg).startswith("To get the best performance")


# threads are chosen where work is shared out (rank's processes, finetune's threads)
logging.getLogger("deepmd.env").addFilter(_is_no_advice)
