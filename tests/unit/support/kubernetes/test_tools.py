"""The scratch modules in which the programs of a cluster are built."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tests.support.kubernetes import images, tools
from tests.support.kubernetes.steps import Steps

GO = """#!/bin/sh
echo "$1 in $PWD" >> "{log}"
case "$*" in "get "*-mod*) echo "flag provided but not defined: -mod" >&2; exit 2;; esac
for argument; do case "$before" in -o) echo built > "$argument";; esac; before=$argument; done
exit {code}
"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "go.log"


def use_go(folder: Path, log: Path, monkeypatch: pytest.MonkeyPatch, code: int = 0) -> None:
    """A `go` that records what it is asked for, and writes an empty program."""
    program = folder / "path" / "go"
    program.parent.mkdir()
    program.write_text(GO.format(log=log, code=code))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")


def test_every_part_of_kubernetes_is_replaced_by_its_own_module() -> None:
    module = tools.kubernetes("1.36.3").go_mod()
    assert "replace k8s.io/apiserver => k8s.io/apiserver v0.36.3\n" in module
    assert module.count("replace ") == len(tools.STAGING) == 33


def test_programs_tell_their_version() -> None:
    assert "-X k8s.io/component-base/version.gitVersion=v1.36.3" in tools.kubernetes("1.36.3").linker_flags()


def test_builds_what_is_missing_and_nothing_twice(
    tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_go(tmp_path, log, monkeypatch)
    found = tools.build(tmp_path / "cache", Steps())
    assert {"pause", "kubelet", "containerd"} <= found.keys()
    assert all(path.read_text() == "built\n" for path in found.values())
    commands = log.read_text().splitlines()
    assert len(commands) == len(found) + 3

    assert tools.build(tmp_path / "cache", Steps()) == found
    assert log.read_text().splitlines() == commands


def test_a_program_that_was_not_built_whole_is_built_again(
    tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_go(tmp_path, log, monkeypatch, code=1)
    with pytest.raises(tools.ToolMissing, match="go build failed"):
        tools.build(tmp_path / "cache", Steps())
    assert not (tmp_path / "cache" / "pause" / "bin" / "pause").exists()


def test_says_what_to_do_without_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(tools.ToolMissing, match="install Go"):
        tools.build(tmp_path / "cache", Steps())


def test_etcd_is_that_of_the_chart() -> None:
    assert images.ETCD.endswith(f":v{tools.ETCD.version}")


def test_the_cache_is_outside_the_repository() -> None:
    assert tools.cache_folder({"XDG_CACHE_HOME": "/c"}) == Path("/c/headgate-k8s")
    assert tools.cache_folder({}) == Path.home() / ".cache" / "headgate-k8s"
