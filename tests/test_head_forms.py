from __future__ import annotations

import pytest

from mftscreen.finetune.config.property_config import PropertyConfig
from mftscreen.head_forms import HEAD_FORMS, HeadForm, find_form


@pytest.mark.parametrize("form", HEAD_FORMS.values(), ids=HEAD_FORMS)
def test_form_is_found_by_its_net(form: HeadForm) -> None:
    assert find_form({"type": form.fitting, "intensive": form.intensive}) is form
    assert PropertyConfig(head=form.name).form is form


def test_defaults_of_deepmd_make_an_extensive_head() -> None:
    assert find_form({"type": "property"}) is HEAD_FORMS["extensive"]


@pytest.mark.parametrize("name", ["r2", "dipole_norm"])
def test_heads_for_molecules_are_so_whatever_the_net_says(name: str) -> None:
    # a model for molecules does not ask its net, so both are in use
    for intensive in (True, False):
        assert find_form({"type": name, "intensive": intensive}) is HEAD_FORMS[name]


@pytest.mark.parametrize("net", [{}, {"type": "ener"}, {"type": "dipole"}])
def test_other_nets_have_no_form(net: dict[str, str]) -> None:
    assert find_form(net) is None
