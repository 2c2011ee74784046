"""Calls of kubectl, with a program in its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.kubernetes.kubectl import Kubectl, KubectlError


def fake(folder: Path, script: str) -> Kubectl:
    program = folder / "kubectl"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return Kubectl(folder / "config", program=str(program))


def test_names_the_cluster_and_the_namespace(tmp_path: Path) -> None:
    output = fake(tmp_path, 'echo "$@"').within("shop").run("get", "pods")
    assert output == f"--kubeconfig={tmp_path / 'config'} --namespace=shop get pods\n"


def test_reads_lists(tmp_path: Path) -> None:
    assert fake(tmp_path, """echo '{"items": [{"kind": "Pod"}]}'""").list("pods") == [{"kind": "Pod"}]


def test_raises_what_it_says(tmp_path: Path) -> None:
    with pytest.raises(KubectlError, match="get pods: not found"):
        fake(tmp_path, "echo not found >&2; exit 1").run("get", "pods")


def test_a_cluster_that_cannot_be_used_is_a_problem(tmp_path: Path) -> None:
    assert fake(tmp_path, "exit 0").problem() == ""
    assert "refused" in fake(tmp_path, "echo the connection was refused >&2; exit 1").problem()
    assert "kubectl-of-nobody" in Kubectl(tmp_path / "config", program="kubectl-of-nobody").problem()


def test_a_watch_notes_the_lines_as_they_come(tmp_path: Path) -> None:
    kubectl = fake(tmp_path, "echo pod-1; echo pod-1 True; exec sleep 60")
    with kubectl.watch("pods", "app=a", "{.metadata.name}") as watch:
        created, _ = watch.first(lambda line: line == "pod-1")
        ready, line = watch.first(lambda line: line.endswith("True"))
    assert line == "pod-1 True"
    assert ready >= created
