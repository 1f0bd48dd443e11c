"""Training: configurations and labelled data in, model files out.

``mftscreen.finetune`` is this package and, called, its function
:func:`mftscreen.finetune.tune.finetune`: the job has the name that it has on the
command line.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _Job(ModuleType):
    """A package that can be called."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        from mftscreen.finetune.tune import finetune

        return finetune(*args, **options)


sys.modules[__name__].__class__ = _Job
