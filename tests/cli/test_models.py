from __future__ import annotations

import csv
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from ase.build import bulk, molecule
from click.testing import CliRunner, Result

from mftscreen import MFTCalculator
from mftscreen.cli import main
from mftscreen.model.backbones import converted_models, pretrained_models
from mftscreen.model.backbones.sevennet import SevenNet
from mftscreen.model.files import download
from mftscreen.model.files.checkpoint import keep_heads
from mftscreen.model.files.pretrained import BACKBONES
from mftscreen.model.files.reading import read_state
from mftscreen.model.files.registry import FAMILIES, registered_models


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def listed() -> dict[str, list[str]]:
    rows = [line.split("\t") for line in run("models", "list").stdout.splitlines()]
    return {name: rest for name, *rest in rows}


def test_list_says_what_is_in_the_cache(publisher: Any) -> None:
    before = listed()
    assert list(before)[-len(BACKBONES) :] == list(BACKBONES)
    assert before["mft-mini"] == [
        "mft-mini-crystals or mft-mini-molecules, by the property that is asked for"
    ]
    size = registered_models()["mft-mini-crystals"].path.stat().st_size / 1e6
    assert before["mft-mini-crystals"][-2:] == [f"{size:.1f} MB", "shipped"]
    assert "log_gvrh (log10(GPa))" in before["mft-mini-crystals"][0]
    assert before["mft-mini-molecules"][0].startswith("energy, forces, stress, ")
    assert before[publisher.name][0].endswith("(crystals: OMat24, molecules: SPICE2)")
    assert {before[name][-1] for name in pretrained_models()} == {"not downloaded"}
    assert {before[name][-1] for name in converted_models()} == {"comes with sevenn"}
    assert publisher.requests == 0
    assert run("models", "download", publisher.name).exit_code == 0
    assert listed()[publisher.name][-1] == str(publisher.path)


def test_download_prints_the_path(publisher: Any) -> None:
    for _ in range(2):
        result = run("models", "download", publisher.name, "-q")
        assert (result.exit_code, result.stdout) == (0, f"{publisher.path}\n")
    assert publisher.requests == 1


@pytest.fixture
def conversion(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """Convert a small model in place of 7net, and keep a list of what is asked for."""
    state = keep_heads(read_state(checkpoint), {"MPtrj": "oxides"})
    heads = state["_extra_state"]["model_params"]["model_dict"]
    heads["MPtrj"] = {**heads["MPtrj"], "info": {"licence": "MIT"}}
    converted: list[str] = []

    def convert(self: SevenNet, name: str) -> dict[str, Any]:
        converted.append(name)
        return state

    monkeypatch.setattr(SevenNet, "convert", convert)
    monkeypatch.setenv("MFTSCREEN_MODELS", str(tmp_path / "kept"))
    return converted


def test_what_comes_with_a_package_is_converted(
    conversion: list[str], tmp_path: Path
) -> None:
    before = listed()["7net-0"]
    assert before == [
        "energy, forces, stress (crystals: MPtrj)",
        "not converted",
        "-",
        "comes with sevenn",
    ]
    for _ in range(2):
        result = run("models", "download", "7net-0", "-q")
        assert result.exit_code == 0
    assert conversion == ["7net-0"]
    path = Path(result.stdout.strip())
    assert path.parent.parent == tmp_path / "kept"
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    size = f"{path.stat().st_size / 1e6:.1f} MB"
    digest = f"sha256 {sha256[:12]}"
    assert listed()["7net-0"] == [before[0], digest, size, str(path)]
    assert listed()["7net-l3i5"][1:] == before[1:]


def test_show_says_where_a_checkpoint_is_from(conversion: list[str]) -> None:
    document = json.loads(run("models", "show", "7net-0", "--json").stdout)
    assert document["info"] == {"licence": "MIT"}
    assert document["heads"] == {"MPtrj": {"predicts": "energy", "aliases": []}}


@pytest.mark.parametrize("command", ["download", "show"])
def test_a_package_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("MFTSCREEN_MODELS", str(tmp_path / "kept"))
    monkeypatch.setitem(sys.modules, "sevenn.util", None)
    result = run("models", command, "7net-l3i5")
    assert result.exit_code == 1
    assert 'pip install "mftscreen[sevenn]"' in result.stderr
    assert not (tmp_path / "kept").exists()


def test_only_large_models_are_downloaded() -> None:
    result = run("models", "download", "mft-mini")
    assert result.exit_code == 1
    assert "no model 'mft-mini' to download; there are DPA-3.1-3M" in result.stderr


def test_show_says_that_a_name_stands_for_several() -> None:
    result = run("models", "show", "mft-mini", "--json")
    assert json.loads(result.stdout)["name"] == "mft-mini-crystals"
    assert "mft-mini stands for mft-mini-crystals, shown here, and mft-mini-mol" in (
        result.stderr
    )


def test_show_lists_the_heads(publisher: Any) -> None:
    result = run("models", "show", publisher.name, "--json")
    document = json.loads(result.stdout)
    assert document["elements"] == ["H", "O", "Mg", "Si", "Ga", "As"]
    assert list(document["heads"]) == ["Domains_Alloy", "Omat24", "SPICE2", "OC22"]
    omat24 = {"predicts": "energy", "aliases": ["Default", "Materials"]}
    assert document["heads"]["Omat24"] == omat24


def test_show_tells_properties_from_energies(checkpoint: Path) -> None:
    heads = json.loads(run("models", "show", str(checkpoint), "--json").stdout)["heads"]
    kinds = {name: head["predicts"] for name, head in heads.items()}
    assert kinds == {
        "alloys": "energy", "oxides": "energy", "gap": "gap", "alpha": "alpha",
    }  # fmt: skip


@pytest.mark.parametrize("head", [None, "molecules", "Omat24"])
def test_predict_with_a_head(publisher: Any, tmp_path: Path, head: str | None) -> None:
    structures = {"crystal": bulk("MgO", "rocksalt", a=4.2), "water": molecule("H2O")}
    for name, atoms in structures.items():
        atoms.write(tmp_path / f"{name}.extxyz")
    files = [str(tmp_path / f"{name}.extxyz") for name in structures]
    options = ["--energy"] if head is None else ["--energy-head", head]
    result = run("predict", *files, "-m", publisher.name, *options)
    assert result.exit_code == (3 if head is None else 0)
    rows = list(csv.DictReader(result.stdout.splitlines()))
    crystal, water = rows
    calculator = MFTCalculator(publisher.name, energy_head=head)
    expected = calculator.get_property("energy", structures["crystal"])
    assert float(crystal["energy"]) == pytest.approx(expected, rel=1e-5)
    if head is None:
        assert water["status"] == "unsupported_pbc"
        assert "energy_head=" in water["reason"]
    else:
        expected = calculator.get_property("energy", structures["water"])
        assert float(water["energy"]) == pytest.approx(expected, rel=1e-5)


def test_list_without_a_model_that_deepmd_lacks(
    publisher: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deepmd.pretrained.registry import MODEL_REGISTRY

    monkeypatch.delitem(MODEL_REGISTRY, publisher.name)
    shipped = {*FAMILIES, *registered_models()}
    assert set(listed()) == {*shipped, *BACKBONES} - {publisher.name}
    result = run("models", "list")
    assert result.exit_code == 0
    assert f"does not know {publisher.name}" in result.stderr


STRUCTURE = "structure.extxyz"
DOWNLOADING = {
    "download": ["models", "download", "DPA-3.1-3M"],
    "show": ["models", "show", "DPA-3.1-3M"],
    "predict": ["predict", STRUCTURE, "-m", "DPA-3.1-3M", "--energy"],
    "diagnose": [
        "diagnose", "DPA-3.1-3M", "--against", "DPA-3.1-3M", "--data", f"a={STRUCTURE}",
        "--n-samples", "10",
    ],
}  # fmt: skip


@pytest.mark.parametrize("quiet", [False, True])
@pytest.mark.parametrize("command", DOWNLOADING)
def test_download_is_as_quiet_as_it_is_to_be(
    publisher: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    quiet: bool,
) -> None:
    monkeypatch.chdir(tmp_path)
    bulk("MgO", "rocksalt", a=4.2).write(STRUCTURE)
    shown = []
    fetch = download.fetch

    def record(*arguments: Any, progress: bool) -> None:
        shown.append(progress)
        fetch(*arguments, progress=progress)

    monkeypatch.setattr(download, "fetch", record)
    run(*DOWNLOADING[command], *(["-q"] if quiet else []))
    assert shown == [not quiet]


def test_help_of_show_says_that_it_downloads() -> None:
    assert "is downloaded" in run("models", "show", "--help").stdout


@pytest.mark.parametrize(
    "command",
    [
        ["rank", STRUCTURE],
        ["rank", STRUCTURE, "-p", "dielectric"],
        ["rank", STRUCTURE, "-p", "dielectric", "-m", "mft-mini"],
        ["ood", "score", STRUCTURE],
        ["ood", "explain", STRUCTURE, "--id", "0"],
        ["predict", STRUCTURE],
    ],
)
@pytest.mark.parametrize("name", ["DPA-3.1-3M", "7net-0"])
def test_pretrained_model_without_a_property_is_not_obtained(
    publisher: Any,
    conversion: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    command: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    bulk("MgO", "rocksalt", a=4.2).write(STRUCTURE)
    result = run(*command, "-m", name)
    assert result.exit_code == 1
    assert f"Error: {name} is a pretrained model: " in result.stderr
    assert "it predicts energies, but no property" in result.stderr
    assert "mftscreen finetune" in result.stderr
    assert publisher.requests == 0
    assert conversion == []


def test_show_is_for_people(checkpoint: Path) -> None:
    text = run("models", "show", "mft-mini-molecules").stdout
    assert "zero-point vibrational energy" in text
    assert "BOOM OOD" in text
    lines = run("models", "show", str(checkpoint)).stdout.splitlines()
    assert lines[0] == "6 elements: H O Mg Si Ga As"
    assert [line.split() for line in lines[2:4]] == [
        ["head", "predicts", "also", "called"],
        ["alloys", "energy"],
    ]


def test_export_and_import(checkpoint: Path, tmp_path: Path) -> None:
    pt, mft = str(tmp_path / "gap.pt"), str(tmp_path / "gap.mft")
    result = run("models", "export", str(checkpoint), "--head", "gap", "-o", pt)
    assert (result.exit_code, result.stdout) == (0, f"{pt}\n")
    result = run("models", "import", pt, "-o", mft, "--unit", "gap=eV", "--name", "my")
    assert (result.exit_code, result.stdout) == (0, f"{mft}\n")
    assert result.stderr == f"wrote a model of gap to {mft}\n"
    text = run("models", "show", mft).stdout
    assert text.startswith("my\n")
    assert "eV" in text
    result = run("models", "import", pt, "-o", mft, "--unit", "gap")
    assert result.exit_code == 2
    assert "'gap' is not PROPERTY=UNIT" in result.stderr
    result = run("models", "export", str(checkpoint), "--head", "no", "-o", pt)
    assert result.exit_code == 1
    assert "no head 'no'; it has alloys, oxides, gap, alpha" in result.stderr
