from __future__ import annotations

from pathlib import Path

from ase.build import bulk

from mftscreen.model.files.checkpoint import (
    keep_heads,
    keep_main_head,
    model_parameters,
    save_state,
)
from mftscreen.model.files.reading import read_state
from mftscreen.model.network.backend import DeepmdNetwork


def test_saved_state_is_small_and_loads(checkpoint: Path) -> None:
    content = save_state(read_state(checkpoint))
    network = DeepmdNetwork.from_checkpoint(content)
    (expected,) = DeepmdNetwork.from_checkpoint(checkpoint).evaluate(
        [bulk("Si")], energy_head="oxides"
    )
    (found,) = network.evaluate([bulk("Si")], energy_head="oxides")
    assert found.energy == expected.energy


def test_main_head_is_kept(checkpoint: Path) -> None:
    state = read_state(checkpoint)
    assert list(model_parameters(keep_main_head(state))) == ["gap"]
    energies = keep_heads(state, {"oxides": "oxides", "alloys": "alloys"})
    assert list(model_parameters(keep_main_head(energies))) == ["oxides"]


def test_kept_heads_have_their_new_names(backbone: bytes) -> None:
    state = read_state(backbone)
    before = set(state)
    kept = keep_heads(state, {"crystals": "Omat24"})
    assert set(state) == before
    assert list(model_parameters(kept)) == ["crystals"]
    tensors = {k: v for k, v in kept.items() if k != "_extra_state"}
    assert all(key.startswith("model.crystals.") for key in tensors)
    assert len(tensors) == sum(key.startswith("model.Omat24.") for key in state)
    assert all(
        value is state[key.replace("crystals", "Omat24", 1)]
        for key, value in tensors.items()
    )
