from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from ase.build import bulk

from mftscreen import load_model
from mftscreen.diagnostics.compared_models import load_network
from mftscreen.errors import ModelFileError
from mftscreen.model.files import registry
from mftscreen.model.network.backend import DeepmdNetwork


@pytest.mark.parametrize("file", ["checkpoint", "tiny_model"])
def test_of_several_heads_that_of_a_property_is_built(
    file: str, request: pytest.FixtureRequest
) -> None:
    path = request.getfixturevalue(file)
    found = load_network(path, "cpu")
    assert list(found.network.heads) == ["gap"]
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    whole = DeepmdNetwork.from_checkpoint(request.getfixturevalue("checkpoint"))
    atoms = [bulk("MgO", "rocksalt", a=4.2)]
    (one,), (other,) = (
        network.evaluate(atoms, descriptors=True) for network in (found.network, whole)
    )
    np.testing.assert_array_equal(one.descriptors, other.descriptors)


def test_one_of_many_energy_heads_is_built(publisher: Any) -> None:
    found = load_network(publisher.name, "cpu")
    assert list(found.network.heads) == ["Domains_Alloy"]


def test_damaged_installation_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._SHA256, "mft-mini-crystals", "0" * 64)
    for reader in (load_model, load_network):
        with pytest.raises(ModelFileError, match="the installation is damaged"):
            reader("mft-mini-crystals")
