from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mftscreen.model.backbones.dpa3.activation import silut_constants
from mftscreen.model.backbones.dpa3.kernels import activate


def test_activation_is_accurate() -> None:
    from deepmd.pt.utils.utils import SiLUT

    silut = SiLUT(3.0)
    x = torch.linspace(-80, 80, 100_001)
    expected = silut(x.to(torch.float64))
    activate(x.numpy(), silut_constants(3.0))
    torch.testing.assert_close(x.to(torch.float64), expected, rtol=4e-7, atol=1e-30)


@pytest.mark.slow
def test_no_cache_needs_to_be_writable(tmp_path: Path) -> None:
    source = (
        "import numpy as np\n"
        "from mftscreen.model.backbones.dpa3.kernels import activate\n"
        "x = np.zeros(3, dtype=np.float32)\n"
        "activate(x, (np.float32(3), np.float32(1), np.float32(1)))\n"
        "print(x.sum(), activate.stats.cache_path)\n"
    )
    blocked = tmp_path / "file"
    blocked.touch()
    environment = {
        **os.environ,
        "NUMBA_CACHE_DIR": str(blocked / "cache"),
        # not the directories of the package and of the user
        "NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator",
    }
    done = subprocess.run(
        [sys.executable, "-c", source],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.stdout.split() == ["0.0", "None"], done.stderr
