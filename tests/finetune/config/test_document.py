from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml

from mftscreen.errors import ConfigError
from mftscreen.finetune.config.document import parse_yaml, read_document

BASE = """\
# What the base is for.

# why this name
name: first
description: >-
  two
  lines

# data
data:
  train: [a.extxyz]  # rows
# at the margin, and still data
  test: {}
auxiliary: {head: crystals}
# the end
"""


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_blocks_are_replaced_dropped_and_added_with_their_comments(
    tmp_path: Path,
) -> None:
    write(tmp_path, "base.yaml", BASE)
    path = write(
        tmp_path,
        "sub/own.yaml",
        "# Its own header.\nbase: ../base.yaml\n# another name\nname: second\n"
        "auxiliary: null\ntraining: {steps: 3}\n",
    )
    text = read_document(path)
    assert text == (
        "# Its own header.\n# another name\nname: second\n"
        "description: >-\n  two\n  lines\n\n# data\ndata:\n"
        "  train: [a.extxyz]  # rows\n# at the margin, and still data\n  test: {}\n"
        "training: {steps: 3}\n"
    )
    assert yaml.safe_load(text)["description"] == "two lines"


def test_a_file_without_base_is_taken_as_it_is(tmp_path: Path) -> None:
    assert read_document(write(tmp_path, "base.yaml", BASE)) == BASE


def test_bases_can_have_bases(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", "name: a\nlicence: MIT\nseed: 1\n")
    write(tmp_path, "b.yaml", "base: a.yaml\nname: b\nseed: 2\n")
    path = write(tmp_path, "c.yaml", "base: b.yaml\nname: c\n")
    found = yaml.safe_load(read_document(path))
    assert found == {"name": "c", "licence": "MIT", "seed": 2}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("base: own.yaml\n", "its own base"),
        ("base: none.yaml\n", "No such file"),
        ("base: [a]\n", "path of a YAML file"),
        ('base: base.yaml\n"quoted": 1\n', "plain names"),
        ("base: base.yaml\n a: b\n", "not YAML"),
    ],
)
def test_problems_are_named(tmp_path: Path, text: str, problem: str) -> None:
    write(tmp_path, "base.yaml", BASE)
    path = write(tmp_path, "own.yaml", text)
    with pytest.raises(ConfigError, match=problem) as caught:
        read_document(path)
    assert caught.value.path is not None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("name: a\nseed: 1\nname: b\n", "key 'name' is given twice"),
        ("model:\n  a: 1\n  a: 2\n", "key 'a' is given twice"),
        ("a: &a [1, *a]\n", "holds itself"),
        ("a: &a {b: *a}\n", "holds itself"),
        (
            "a: &a [1,1,1,1,1,1,1,1,1,1]\n"
            + "".join(
                f"{n}: &{n} [{','.join([f'*{m}'] * 10)}]\n"
                for m, n in ("ab", "bc", "cd", "de", "ef", "fg", "gh", "hi")
            ),
            "more than 10000 values",
        ),
        ("name: a\0b\n", "not YAML"),
        ("[" * 10_000, "not YAML"),
        ("? [a]\n: b\n", "not YAML"),
        ("a: 2001-99-99\n", "not YAML"),
    ],
)
def test_odd_yaml_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        parse_yaml(text, tmp_path)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[" * 100_000, "brackets are in each other"),
        ('x: {"a": ' * 50_000, "not YAML"),
        ("- " * 50_000, "not YAML"),
        ("".join(f"k{n}: 1\n" for n in range(20_000)) + "k0: 1", "is given twice"),
    ],
    ids=["brackets", "braces", "dashes", "keys"],
)
def test_no_text_takes_long(tmp_path: Path, text: str, problem: str) -> None:
    start = time.process_time()
    with pytest.raises(ConfigError, match=problem):
        parse_yaml(text, tmp_path / "a.yaml")
    assert time.process_time() - start < 30


def test_anchors_are_fine(tmp_path: Path) -> None:
    text = "a: &x {b: 1}\nc:\n  <<: *x\n  d: *x\n"
    assert parse_yaml(text, tmp_path)["c"] == {"b": 1, "d": {"b": 1}}


def test_files_without_an_end_and_links_to_themselves(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is longer than"):
        read_document(Path("/dev/zero"))
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    with pytest.raises(ConfigError, match="symbolic links"):
        read_document(tmp_path / "loop.yaml")
    path = write(tmp_path, "nul.yaml", 'base: "a\\0b"\n')
    with pytest.raises(ConfigError, match="is no path"):
        read_document(path)
