"""All that mftscreen adds to deepmd-kit: property heads, and kinds of descriptors.

deepmd-kit imports this module by the entry point in the group ``deepmd.pt``, so that
``dp`` trains what it registers wherever mftscreen is installed, and so it tests and
loads the heads. What TorchScript is needed for, 7net cannot do: deepmd-kit's DeepPot
loads it with ``no_jit=True``, and ``dp test`` and ``dp freeze`` do not.
"""

from importlib import import_module

import mftscreen.model.heads  # noqa: F401 - registers its fitting nets
from mftscreen.model.backbones import plugins

for _module in plugins():
    import_module(_module)
