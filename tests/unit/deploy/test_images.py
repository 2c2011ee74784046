"""What `make images` says of an image: which sources it was built from, and how large it is."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from deploy.images import SBOM, SOURCES, Source, unpack

ROOT = Path(__file__).parents[3]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with one commit."""
    (tmp_path / "deploy").mkdir()
    for name in ("VERSION", "README.md", "deploy/images.py"):
        (tmp_path / name).write_text("1.2.3\n")
    author = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    for command in (("init", "--quiet"), ("add", "."), (*author, "commit", "--quiet", "--message=One")):
        subprocess.run(("git", "-C", tmp_path, *command), check=True)
    return tmp_path


def test_an_image_names_its_commit(checkout: Path) -> None:
    source = Source.of(checkout)
    assert source.version == "1.2.3"
    assert len(source.revision) == 40
    assert f"SOURCE_DATE_EPOCH={source.epoch}" in source.arguments()


@pytest.mark.parametrize("name", ["VERSION", "deploy/images.py", "deploy/new.py"])
def test_other_sources_than_those_of_the_commit_are_marked(checkout: Path, name: str) -> None:
    (checkout / name).write_text("1.2.4\n")
    assert Source.of(checkout).revision.endswith("+changes")


@pytest.mark.parametrize("name", ["README.md", "notes.txt"])
def test_other_files_do_not_count(checkout: Path, name: str) -> None:
    (checkout / name).write_text("changed\n")
    assert not Source.of(checkout).revision.endswith("+changes")


def test_all_that_is_sent_to_the_engine_is_a_source() -> None:
    sent = (ROOT / ".dockerignore").read_text().splitlines()
    folders = {line[1:].split("/")[0] for line in sent if line.startswith("!")}
    assert folders <= set(SOURCES)


def test_the_size_is_that_of_all_files(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in ((SBOM[1:], b"{}"), ("usr/bin/python3", b"x" * 1000), ("etc/empty", b"")):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    stream.seek(0)
    assert unpack(stream, tmp_path / "bill") == 1002
    assert (tmp_path / "bill").read_bytes() == b"{}"
