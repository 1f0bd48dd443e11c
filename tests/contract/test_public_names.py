from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys

import pytest

import mftscreen

MODULES = [
    module.name
    for module in pkgutil.walk_packages(mftscreen.__path__, "mftscreen.")
    if not module.name.endswith("__main__")
]


def test_public_names_are_all_and_sorted() -> None:
    assert dir(mftscreen) == sorted(mftscreen.__all__)
    for name in mftscreen.__all__:
        assert getattr(mftscreen, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = mftscreen.nothing


@pytest.mark.parametrize("name", MODULES)
def test_all_of_each_module_exists(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__
    for public in getattr(module, "__all__", []):
        assert hasattr(module, public), public


@pytest.mark.parametrize(
    "code",
    [
        "import mftscreen",
        "from mftscreen.cli import main; main(['--help'], standalone_mode=False)",
    ],
)
def test_nothing_heavy_is_imported_early(code: str) -> None:
    heavy = ("torch", "deepmd", "sklearn", "pymatgen", "numba", "matminer", "pandas")
    check = f"{code}\nimport sys\nprint(sorted(set({heavy!r}) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
