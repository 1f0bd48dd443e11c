from __future__ import annotations

from html.parser import HTMLParser

from mftscreen.model.files.bundle import (
    DescriptorCard,
    ModelCard,
    PropertyHead,
    read_bundle,
)
from mftscreen.model.files.card_view import card_html, card_text
from mftscreen.model.files.registry import registered_models
from mftscreen.properties import PropertySpec


def _card() -> ModelCard:
    return read_bundle(registered_models()["mft-mini-crystals"].path).card


def test_text_has_units_meanings_and_errors() -> None:
    text = card_text(_card(), "abc", 1.25)
    assert text.startswith("mft-mini-crystals\n")
    assert "sha256 abc, 1.2 MB" in text
    assert "shear modulus (Voigt-Reuss-Hill)" in text
    assert "stress in eV/Å^3" in text
    found = _card().properties["log_gvrh"].metrics["fold 0 test"]
    (line,) = (
        line.split()
        for line in text.splitlines()
        if line.startswith("log_gvrh") and "fold 0 test" in line
    )
    assert line[4:6] == [f"{found['n']:,.0f}", f"{found['mae']:.4g}"]
    assert line[-2:] == [f"{found['coverage_90']:.0%}", "log10(GPa)"]


def test_elements_stand_once_for_all_that_learned_from_them() -> None:
    heads = {
        name: PropertyHead(
            spec=PropertySpec(name=name, label=name), head=name, elements=elements,
            n_train=1, training_set="", train_range=(0.0, 1.0), training_hash="",
        )
        for name, elements in {"a": ["H", "O"], "b": ["H", "O"], "c": ["O"]}.items()
    }  # fmt: skip
    card = ModelCard(name="three", strategy="ft", properties=heads)
    lines = card_text(card).rstrip().split("\n")[-3:]
    assert [line.split() for line in lines] == [
        ["learned", "from", "elements"],
        ["a,", "b", "H", "O"],
        ["c", "O"],
    ]


def test_descriptors_have_their_licences_and_citations() -> None:
    descriptors = [
        DescriptorCard(name="7net-0", sha256="0" * 64, licence="MIT", citation="Park"),
        DescriptorCard(name="<own>", sha256="a" * 64),
    ]
    card = ModelCard(name="both", strategy="kernel", descriptors=descriptors)
    _, title, *rows = card_text(card).rstrip().split("\n")[-4:]
    assert title.split()[:2] == ["descriptor", "of"]
    assert [row.split() for row in rows] == [
        ["7net-0", "0" * 12, "MIT", "Park"],
        ["<own>", "a" * 12],
    ]
    assert "&lt;own&gt;" in card_html(card)


def test_what_is_unknown_is_not_a_number() -> None:
    spec = PropertySpec(name="gap", label="<gap>")
    head = PropertyHead(
        spec=spec, head="gap", elements=["O"], n_train=0, training_set="",
        train_range=(float("-inf"), float("inf")), training_hash="",
    )  # fmt: skip
    card = ModelCard(name="bare", strategy="unknown", properties={"gap": head})
    text = card_text(card)
    assert "inf" not in text
    assert text.count("unknown") == 3
    again = ModelCard.model_validate_json(card.model_dump_json())
    assert again == card
    assert "&lt;gap&gt;" in card_html(card)


def test_html_is_well_formed() -> None:
    opened: list[str] = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            opened.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert opened.pop() == tag

    Parser().feed(card_html(_card(), "abc"))
    assert opened == []


def test_a_card_that_others_wrote_is_shown() -> None:
    forces = {"crystals": {"dft": {"n": "many", "force_mae": None}, "other": 3}}
    card = ModelCard(name="a\x1b[31m", strategy="ft", force_field=forces)
    text = card_text(card)
    assert "\x1b" not in text
    assert r"a\x1b[31m" in text
    assert "dft" in text
    assert "dft" in card_html(card)
