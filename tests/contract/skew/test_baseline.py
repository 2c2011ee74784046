"""`buf breaking` against the committed baseline: what was released once stays readable."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
BUF = Path(sys.executable).parent / "buf"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The .proto files, to be changed."""
    shutil.copytree(ROOT / "proto", tmp_path / "proto", ignore=shutil.ignore_patterns("*.py*", "__pycache__"))
    shutil.copy(ROOT / "buf.yaml", tmp_path)
    return tmp_path


def breaking(folder: Path) -> str:
    argv = [str(BUF), "breaking", "--against", str(ROOT / "proto" / "baseline.binpb")]
    found = subprocess.run(argv, cwd=folder, capture_output=True, text=True)
    assert found.returncode in (0, 100), found.stderr
    return found.stdout


def change(folder: Path, file: str, old: str, new: str) -> str:
    """What buf says once the text is replaced."""
    path = folder / "proto" / "headgate_api" / "v1" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return breaking(folder)


def test_as_it_is_nothing_is_broken(copy: Path) -> None:
    assert breaking(copy) == ""


def test_to_grow_is_no_break(copy: Path) -> None:
    assert change(copy, "config.proto", "message Ack {", "message Ack {\n  string note = 99;") == ""


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("config.proto", "string node = 1;", "", 'field "1" with name "node" on message "Hello" was deleted'),
        ("config.proto", "string node = 1;", "string node = 99;", "was deleted"),
        ("config.proto", "string node = 1;", "bytes node = 1;", "changed type"),
        ("config.proto", "string node = 1;", "string name = 1;", "changed name"),
        ("resources.proto", "LOAD_BALANCER_IP_HASH = 3;", "", "was deleted"),
    ],
)
def test_to_take_away_is(copy: Path, file: str, old: str, new: str, said: str) -> None:
    assert said in change(copy, file, old, new)
