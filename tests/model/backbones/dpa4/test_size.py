from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from mftscreen.model.backbones.dpa4.size import DPA4Size
from mftscreen.model.backbones.seam import EdgeCutoffs
from mftscreen.model.files.checkpoint import model_parameters
from mftscreen.model.files.reading import read_state


def test_size_of_a_descriptor_makes_the_same_one(dpa4_checkpoint: Path) -> None:
    said = model_parameters(read_state(dpa4_checkpoint))["gap"]["descriptor"]
    size = DPA4Size.of({**said, "type": "SeZM", "trainable": False})
    assert size.cutoffs == EdgeCutoffs(edge=4.5, angle=0.0)
    made = size.parameters((37, 1), seed=5)
    assert {name: made[name] for name in said} == {**said, "sel": 37, "seed": 5}
    assert "trainable" not in made
    assert DPA4Size.of(made) == size


@pytest.mark.parametrize("key", ["sel", "seed", "trainable", "exclude_types"])
def test_what_a_run_decides_is_no_size(key: str) -> None:
    with pytest.raises(ValidationError, match=key):
        DPA4Size.model_validate({key: 1})


def test_atoms_without_neighbours_have_room_for_one() -> None:
    assert DPA4Size().parameters((0, 0), seed=1)["sel"] == 1


def test_deepmd_kit_accepts_what_a_size_says() -> None:
    from deepmd.utils.argcheck import descrpt_args_plugin, fitting_args_plugin

    size = DPA4Size(channels=8, mmax=None, node_cartesian=2, l_schedule=[2, 1])
    for made, plugin in (
        (size.parameters((10, 1), seed=1), descrpt_args_plugin),
        (size.energy_net(seed=1), fitting_args_plugin),
    ):
        kind = made.pop("type")
        argument = plugin.get_argument(kind)
        normal = argument.normalize_value(made)
        argument.check_value(normal, strict=True)
        assert {name: normal[name] for name in made} == made
