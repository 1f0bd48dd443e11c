"""Fine-tuning from a large pretrained model, of which the tests have a small copy."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ase.build import bulk

from mftscreen import load_model
from mftscreen.errors import ConfigError, UnknownHeadError
from mftscreen.finetune.task.pretrained import (
    FrozenDescriptor,
    check_distinct,
    check_quantities,
    load_pretrained,
)
from mftscreen.model.files.bundle import (
    DescriptorCard,
    ModelCard,
    read_bundle,
    write_bundle,
)
from mftscreen.model.files.checkpoint import model_parameters
from mftscreen.model.files.reading import read_state
from mftscreen.testing import check_model
from mftscreen.transforms import Transform

FITTING = "atomic_model.fitting_net"


@pytest.mark.parametrize(
    ("head", "branch"),
    [("crystals", "Omat24"), ("molecules", "SPICE2"), ("Materials", "Omat24")],
)
def test_head_is_found_and_has_the_name_it_was_asked_for(
    publisher: Any, head: str, branch: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="mftscreen"):
        state, sha256 = load_pretrained(publisher.name, head)
    assert sha256 == hashlib.sha256(publisher.content).hexdigest()
    assert list(model_parameters(state)) == [head]
    published = read_state(publisher.content)
    code = state[f"model.{head}.{FITTING}.case_embd"]
    assert torch.equal(code, published[f"model.{branch}.{FITTING}.case_embd"])
    assert f"head {head!r} of {publisher.name} is its head {branch!r}" in caplog.text


def test_one_head_without_a_choice(publisher: Any) -> None:
    state, _ = load_pretrained(publisher.name)
    assert len(model_parameters(state)) == 1


def test_heads_that_are_taken_over_predict_the_same() -> None:
    source = "mft-mini-crystals"
    specs = load_model(source).properties
    check_quantities(source, specs)
    shear = specs["log_gvrh"].model_copy(
        update={"unit": "GPa", "transform": Transform(kind="log10")}
    )
    with pytest.raises(ConfigError) as caught:
        check_quantities(source, specs | {"log_gvrh": shear})
    assert "log_gvrh.unit: the head" in str(caught.value)
    assert "has log10(GPa), not GPa" in str(caught.value)
    assert "has identity, not log10" in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ft", "lp"])
def test_model_of_many_properties_can_be_fine_tuned_again(
    tune: Callable[..., Path], strategy: str
) -> None:
    # it has more heads than data sets that its one-hot tells apart
    path = tune(f"again-{strategy}", strategy, pretrained="mft-mini-crystals")
    assert list(load_model(path).properties) == ["softness"]


def test_unknown_head_lists_the_others(publisher: Any) -> None:
    with pytest.raises(UnknownHeadError) as caught:
        load_pretrained(publisher.name, "dft")
    text = str(caught.value)
    assert text.startswith(f"pretrained model {publisher.name}: there is no head 'dft'")
    assert "Omat24 (Default, Materials), SPICE2 (Drug), OC22" in text
    assert "for crystals: OMat24, for molecules: SPICE2" in text


@pytest.mark.slow
def test_recipe_for_the_shipped_model_fits_a_large_one(
    publisher: Any, tune: Callable[..., Path]
) -> None:
    auxiliary = {"head": "crystals", "data": ["crystals.extxyz"], "batch_size": 16}
    path = tune("large", "mft", pretrained=publisher.name, auxiliary=auxiliary)
    bundle, published = read_bundle(path), read_state(publisher.content)
    assert bundle.card.energy_head == "crystals"
    trained = read_state(bundle.checkpoint)
    # the force field goes on as the data set it was pretrained for
    code = published[f"model.Omat24.{FITTING}.case_embd"]
    assert torch.equal(trained[f"model.crystals.{FITTING}.case_embd"], code)
    weight = "atomic_model.descriptor.repflows.layers.0.node_self_mlp.matrix"
    before, after = (
        published[f"model.SPICE2.{weight}"],
        trained[f"model.crystals.{weight}"],
    )
    assert 0 < (before - after).abs().max() < 0.1
    assert torch.equal(after, trained[f"model.softness.{weight}"])
    check_model(load_model(path), [bulk("MgO", "rocksalt", a=4.3)])


@pytest.mark.slow
def test_other_strategies_need_no_head(
    publisher: Any, tune: Callable[..., Path]
) -> None:
    path = tune("large_lp", "lp", pretrained=publisher.name)
    published = read_state(publisher.content)
    trained = read_state(read_bundle(path).checkpoint)
    weight = "atomic_model.descriptor.repflows.layers.0.node_self_mlp.matrix"
    assert torch.equal(
        published[f"model.OC22.{weight}"], trained[f"model.softness.{weight}"]
    )


def test_descriptor_under_kernels_is_of_the_model_that_it_came_from(
    checkpoint: Path, tmp_path: Path
) -> None:
    content = checkpoint.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    origin = DescriptorCard(name="tiny", sha256=sha256, licence="MIT", citation="Doe")
    card = ModelCard(
        name="mine", strategy="kernel", licence="none", descriptors=[origin]
    )
    path = tmp_path / "mine.mft"
    write_bundle(path, card, content)
    under, itself = (
        FrozenDescriptor.of(str(source), *load_pretrained(str(source)))
        for source in (path, checkpoint)
    )
    found = under.card
    assert (found.name, found.licence, found.citation) == ("tiny", "MIT", "Doe")
    with pytest.raises(ConfigError, match="a model stands in it twice: tiny, tiny"):
        check_distinct([under, itself])
