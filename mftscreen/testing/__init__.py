"""Checks of models and of backbones, and a model with closed-form energies.

Third parties can run the checks on what is their own::

    from mftscreen.testing import check_backbone, check_model
    check_model(load_model("my.mft"), [bulk("MgO", "rocksalt", a=4.2)])
    check_backbone("my_checkpoint.pt")
"""

from mftscreen.testing.backbones import check_backbone
from mftscreen.testing.fake_model import FakeModel
from mftscreen.testing.models import check_model

__all__ = ["FakeModel", "check_backbone", "check_model"]
