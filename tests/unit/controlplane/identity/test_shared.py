"""Shared credentials, as they are and from files."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from controlplane.identity import SharedTokens, UnusableFile, read_tokens

FIRST, SECOND = "first-token-of-many", "second-token-of-many"


@pytest.mark.parametrize("sent", [b"", b"x", FIRST[:-1].encode(), (FIRST + "x").encode(), b"\xff" * 20])
def test_others_are_not_accepted(sent: bytes) -> None:
    assert not SharedTokens(FIRST, SECOND).accepts(sent)


def test_none_accept_nobody() -> None:
    assert not SharedTokens().accepts(b"")
    assert not SharedTokens().accepts(FIRST.encode())


def test_each_is_accepted() -> None:
    tokens = SharedTokens(FIRST, SECOND)
    assert tokens.accepts(FIRST.encode()) and tokens.accepts(SECOND.encode())


def test_they_are_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(FIRST)
    assert FIRST not in repr(SharedTokens(SECOND, file=file))


def test_a_file_of_several(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_bytes(f"# of the first data centre\n\n  {FIRST}\t\r\n{SECOND}".encode())
    assert read_tokens(file) == (FIRST.encode(), SECOND.encode())


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (b"", "must hold 1 to 16 credentials, one per line, but holds 0"),
        (b"# nothing\n\n", "but holds 0"),
        (b"\n".join([FIRST.encode()] * 17), "but holds 17"),
        (f"{FIRST}\nshort".encode(), ", line 2: must be 16 to 1024 visible ASCII characters"),
        (b"x" * 1025, ", line 1: must be 16 to 1024"),
        (b"with a space inside it", ", line 1: "),
        (b"\xff" * 20, ", line 1: "),
    ],
)
def test_files_of_no_use(tmp_path: Path, content: bytes, detail: str) -> None:
    file = tmp_path / "tokens"
    file.write_bytes(content)
    with pytest.raises(UnusableFile) as caught:
        SharedTokens(file=file)
    assert str(caught.value).startswith(str(file)) and detail in str(caught.value)
    assert "short" not in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UnusableFile, match="No such file or directory"):
        SharedTokens(file=tmp_path / "tokens")


def test_a_swapped_file_is_followed_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    file, other = tmp_path / "tokens", tmp_path / "other"
    file.write_text(FIRST)
    tokens = SharedTokens(file=file)
    other.write_text(SECOND)
    other.rename(file)
    assert not tokens.accepts(FIRST.encode())
    assert tokens.accepts(SECOND.encode())
    file.write_text("short")
    assert tokens.accepts(SECOND.encode())
    assert tokens.accepts(SECOND.encode())
    assert [record.levelname for record in caplog.records] == ["INFO", "ERROR"]
    assert "token" not in caplog.text.replace(str(file), "")
