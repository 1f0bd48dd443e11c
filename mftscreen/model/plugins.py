"""All that mftscreen adds to deepmd-kit: property heads, and kinds of descriptors.

deepmd-kit imports this module by the entry point in the group ``deepmd.pt``, so that
``dp`` trains what it registers wherever mftscreen is installed, and so it tests and
loads the heads. What TorchScript is needed for, 7net cannot do: deepmd-kit's DeepPot
loads it with ``no_jit=True``, and ``dp test`` and ``dp freeze`` do not. A plug-in of
another package that breaks costs its own kind of descriptors only.
"""

import logging
from importlib import import_module

import mftscreen.model.heads  # noqa: F401 - registers its fitting nets
from mftscreen.model.backbones import plugins

log = logging.getLogger(__name__)

for _module in plugins():
    try:
        import_module(_module)
    except Exception as _error:  # noqa: BLE001 - whatever another package raises
        log.warning("the plug-in %s cannot be imported: %s", _module, _error)
