"""Control groups of the pods, in a folder that looks like the system's."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.support.kubernetes import isolation


def version_1(root: Path) -> None:
    (root / "cpuset").mkdir()
    (root / "memory").mkdir()
    (root / "cpu").symlink_to(root / "memory")
    (root / "cpuset" / "cpuset.cpus").write_text("0-1\n")


def test_hierarchies_of_version_1(tmp_path: Path) -> None:
    version_1(tmp_path)
    assert isolation.cgroup_hierarchies(tmp_path) == [tmp_path / "cpuset", tmp_path / "memory"]


def test_the_hierarchy_of_version_2(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").touch()
    (tmp_path / "user.slice").mkdir()
    assert isolation.cgroup_hierarchies(tmp_path) == [tmp_path]


def test_every_node_has_a_group_that_takes_processes(tmp_path: Path) -> None:
    version_1(tmp_path)
    isolation.make_cgroups([tmp_path / "cpuset"], "pods")
    # The kernel makes these files; here, the second call finds them.
    for folder in (
        tmp_path / "cpuset" / "pods",
        *(tmp_path / "cpuset" / "pods").iterdir(),
    ):
        (folder / "cpuset.cpus").touch()
    isolation.make_cgroups([tmp_path / "cpuset"], "pods")
    for node in ("node1", "node2"):
        assert (tmp_path / "cpuset" / "pods" / node / "cpuset.cpus").read_text() == "0-1\n"


def test_groups_are_removed_with_those_below_them(tmp_path: Path) -> None:
    hierarchies = [tmp_path / "cpu", tmp_path / "memory"]
    for hierarchy in hierarchies:
        hierarchy.mkdir()
    isolation.make_cgroups(hierarchies, "pods")
    (hierarchies[0] / "pods" / "kubepods" / "pod1").mkdir(parents=True)
    isolation.remove_cgroups(hierarchies, "pods")
    assert [list(hierarchy.iterdir()) for hierarchy in hierarchies] == [[], []]


def test_a_group_in_use_is_an_error_after_a_while(tmp_path: Path) -> None:
    group = tmp_path / "pods"
    group.mkdir()
    (group / "in use").touch()
    with pytest.raises(OSError, match="not empty"):
        isolation.remove_cgroups([tmp_path], "pods", patience=0)


def test_says_what_the_machine_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(isolation, "PLUGINS", ())
    lacks = isolation.missing()
    if sys.platform == "linux":
        assert "runc (Debian: runc)" in lacks
        assert any("containernetworking-plugins" in line for line in lacks)
    assert ("root privileges" in lacks) is (sys.platform == "linux" and os.geteuid() != 0)
