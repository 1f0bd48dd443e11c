from __future__ import annotations

import base64
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import write
from click.testing import CliRunner, Result

from mftscreen.cli import main

PNG = b"\x89PNG\r\n\x1a\n"


def diagnose(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["diagnose", *map(str, arguments)])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "crystals.extxyz"
    frames = []
    for k in range(4):
        for atoms in (molecule("H2O"), bulk("MgO", "rocksalt", a=4.2, cubic=True)):
            atoms.rattle(0.05, seed=k)
            frames.append(atoms)
    write(path, frames)
    return path


class _Page(HTMLParser):
    """The tags of a page, its text, and whatever it wants to load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.images: list[bytes] = []
        self.foreign: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "link", "img"):
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href"):
                head, _, content = (value or "").partition(",")
                if head == "data:image/png;base64":
                    self.images.append(base64.b64decode(content))
                elif head != "data:":
                    self.foreign.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_report_json_and_table(checkpoint: Path, data: Path, tmp_path: Path) -> None:
    result = diagnose(
        checkpoint, "--against", checkpoint, "--data", f"<i>={data}", "--n-atoms", 20,
        "--n-samples", 12, "--pair", "Mg-O", "--seed", 3, "--device", "cpu",
        "-o", tmp_path / "report.html", "--json", tmp_path / "report.json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    heading, row = (line.split() for line in result.stdout.splitlines()[:2])
    assert heading[:5] == ["data", "set", "model", "atoms", "sampled"]
    assert row[:5] == ["<i>", "tiny", "44", "20", "0"]
    document = json.loads((tmp_path / "report.json").read_text())
    assert document["options"] == {
        "n_atoms": 20, "n_samples": 12, "n_environments": 12, "pairs": ["Mg-O"],
        "seed": 3, "n_repeats": 3, "independent": True, "clustered": None,
    }  # fmt: skip
    numbers = document["data_sets"]["<i>"]
    assert numbers["n_rows"]["edges"]["Mg-O near"] == 12
    numbers = numbers["models"]["tiny"]
    assert numbers["drift"]["w1"] == 0.0
    assert numbers["atoms"]["davies_bouldin_plane"]["ratio"] == 1.0
    page = _Page((tmp_path / "report.html").read_text("utf-8"))
    assert page.open == page.foreign == []
    assert [image[:8] for image in page.images] == [PNG, PNG]
    shown = " ".join(page.text)
    assert "<i>" in shown  # as text, not as a tag
    assert document["pretrained"]["sha256"] in shown
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.html", "report.json"]


def test_a_picture_alone(checkpoint: Path, data: Path, tmp_path: Path) -> None:
    from matplotlib.image import imread

    path = tmp_path / "plots.png"
    result = diagnose(
        checkpoint, "--against", checkpoint, "--data", f"a={data}",
        "--n-samples", 5, "-q", "-o", path,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    image = imread(path)
    # neither empty nor without colour
    assert image[..., :3].std() > 0.01
    assert np.ptp(image[..., :3], axis=2).max() > 0.3


def test_data_without_clusters_are_told(checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "silicon.extxyz"
    write(path, [bulk("MgO", "rocksalt", a=30.0)] * 5)
    base = [checkpoint, "--against", checkpoint, "--data", f"a={path}"]
    page = tmp_path / "report.html"
    result = diagnose(*base, "-o", page)
    assert result.exit_code == 0, result.output
    assert "a, edges: not compared: 0 edges of bonded atoms" in result.stderr
    assert "writes t-SNE plots" not in result.stderr
    assert re.search(r"^a +tiny +10 +10 +0 ", result.stdout, re.MULTILINE)


def test_rows_that_cannot_be_used_are_named(checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "mixed.extxyz"
    frames = [bulk("MgO", "rocksalt", a=4.2 + k / 100) for k in range(8)]
    write(path, [*frames, bulk("Cu"), Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.1]])])
    result = diagnose(
        checkpoint, "--against", checkpoint, "--data", f"a={path}", "--n-samples", 4
    )
    assert result.exit_code == 3, result.output
    assert "mixed.extxyz#8: holds Cu, which the model does not know" in result.stderr
    assert "mixed.extxyz#9: atoms 0 (H) and 1 (H)" in result.stderr
    assert re.search(r"^a +tiny +16 ", result.stdout, re.MULTILINE)
    assert "-o FILE.html writes t-SNE plots" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "a=missing.extxyz"], "missing.extxyz"),
        (["--data", "a={data}", "-o", "report.pdf"], "expected .html or .png"),
        (["--data", "a={data}", "-o", "no/report.png"], "no is not a folder"),
        (["--data", "a={data}", "--json", "all.txt"], "expected .json"),
        (["--data", "a={data}", "--against", "missing.pt"], "missing.pt: no such file"),
        (
            ["--data", "a={data}", "--against", "mft-mini-crystals"],
            "one was not made from",
        ),
    ],
)
def test_errors(
    checkpoint: Path, data: Path, arguments: list[str], message: str
) -> None:
    given = [argument.format(data=data) for argument in arguments]
    if "--against" not in given:
        given += ["--against", str(checkpoint)]
    result = diagnose(checkpoint, *given)
    assert result.exit_code == 1, result.output
    assert message in result.stderr


@pytest.mark.parametrize(
    ("data_sets", "message"),
    [
        (["train.extxyz"], "is not NAME=FILE"),
        (["=train.extxyz"], "is not NAME=FILE"),
        (["a=one.db", "a=two.db"], "'a' names two data sets"),
    ],
)
def test_wrong_usage(data_sets: list[str], message: str) -> None:
    given = [word for each in data_sets for word in ("--data", each)]
    result = diagnose("model.pt", "--against", "other.pt", *given)
    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "a.db", "--split", "{split}"], "--split and --fold are needed"),
        (["--data", "a=a.db", "--fold", "1"], "--split and --fold are needed together"),
        (
            ["--data", "a=a.db", "--split", "{split}", "--fold", "1"],
            "with --split, --data is FILE, not NAME=FILE; got 'a=a.db'",
        ),
    ],
)
def test_wrong_usage_of_a_split(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    (split := tmp_path / "split.json").touch()
    result = diagnose("model.pt", *(a.format(split=split) for a in arguments))
    assert result.exit_code == 2
    assert message in result.stderr


def test_pairs_are_of_elements() -> None:
    result = diagnose("model.pt", "--pair", "C-O", "--pair", "C-Xy")
    assert result.exit_code == 2
    assert "'C-Xy' is no pair of elements" in result.stderr


def test_some_models_have_names_of_their_own(checkpoint: Path, tmp_path: Path) -> None:
    other = shutil.copy(checkpoint, tmp_path / "other.pt")
    frames = tmp_path / "frames.extxyz"
    write(frames, [bulk("MgO", "rocksalt", a=4.0 + 0.1 * k) for k in range(8)])
    options = ["--against", checkpoint, "--data", f"a={frames}", "--n-repeats", 1, "-q"]
    result = diagnose(f"mine={checkpoint}", other, *options)
    assert result.exit_code == 0, result.output
    models = [line.split()[1] for line in result.stdout.splitlines()[1:3]]
    assert models == ["mine", "other"]
    result = diagnose(f"other={checkpoint}", other, *options)
    assert "'other' names two models" in result.stderr
