"""The etcd of the chart as processes on loopback: the chart's own commands, certificates and names of files.

Names of hosts become ports of loopback, and mounted folders become folders of the test. All else is as rendered.
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from demo.etcd import find_etcd
from demo.ports import free_port
from demo.processes import Process, start
from tests.support.chart import Objects

NAME = "demo-headgate-etcd"
MEMBERS = 3


def program(name: str) -> Path:
    """etcdctl or etcdutl: beside etcd, or on the PATH; without it, the test is skipped."""
    beside = find_etcd().with_name(name)
    found = beside if os.access(beside, os.X_OK) else shutil.which(name)
    if found is None:
        pytest.skip(f"there is no {name} on this machine")
    return Path(found)


def members_pod(objects: Objects) -> dict[str, Any]:
    """The pod of the members."""
    found: dict[str, Any] = objects[f"StatefulSet/{NAME}"]["spec"]["template"]["spec"]
    return found


class ChartEtcd:
    """The members, and the folders that their pods and jobs mount."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports = [{port: free_port() for port in (2379, 2380, 2381)} for _ in range(MEMBERS)]
        self._running: dict[int, Process] = {}
        self.backups = folder / "backups"
        self.backups.mkdir(parents=True)

    def write_secrets(self, objects: Objects) -> None:
        """The files of the rendered Secrets, as kubelet mounts them."""
        for document in (each for each in objects.values() if each["kind"] == "Secret"):
            folder = self.secret(document["metadata"]["name"])
            folder.mkdir(parents=True)
            for name, value in document["data"].items():
                (folder / name).write_bytes(base64.b64decode(value))

    def secret(self, name: str) -> Path:
        """The folder of a Secret."""
        return self._folder / "secrets" / name

    def start(self, objects: Objects) -> None:
        """Start every member, as the StatefulSet says."""
        for number in range(objects[f"StatefulSet/{NAME}"]["spec"]["replicas"]):
            self.start_member(objects, number)

    def start_member(self, objects: Objects, number: int) -> Process:
        """Start one of them."""
        state = objects[f"ConfigMap/{NAME}"]["data"]["initial-cluster-state"]
        argv = self.argv(members_pod(objects), "etcd", number, {"INITIAL_CLUSTER_STATE": state})
        argv += ["--unsafe-no-fsync", "--log-level=warn"]
        self._running[number] = start(f"etcd-{number}", argv, {}, self._folder / "logs")
        return self._running[number]

    def kill(self) -> None:
        """End every member at once."""
        for number in list(self._running):
            self.kill_member(number)

    def kill_member(self, number: int) -> None:
        """End one of them."""
        self._running.pop(number).kill()

    def lose_data(self, number: int) -> None:
        """The volume of a member is another one, and empty."""
        self._data(number).rename(self._folder / f"lost-{number}")

    def etcdctl(self, objects: Objects, *arguments: str, number: int = 0) -> str:
        """`kubectl exec MEMBER -- etcdctl …`; returns its output. AssertionError says what went wrong."""
        pod = members_pod(objects)
        argv = [str(program("etcdctl")), *(self.urls(each) for each in arguments)]
        return self._run(argv, self._environment(pod, "etcd", number))

    def run(self, pod: Mapping[str, Any], container: str, number: int = 0, **variables: str) -> str:
        """Run a container of a job to its end; returns its output."""
        argv = self.argv(pod, container, number, variables)
        return self._run(argv, self._environment(pod, container, number))

    def _environment(self, pod: Mapping[str, Any], container: str, number: int) -> dict[str, str]:
        entries = self._container(pod, container).get("env", [])
        return {each["name"]: self._local(each["value"], pod, number) for each in entries if "value" in each}

    @staticmethod
    def _run(argv: list[str], given: Mapping[str, str]) -> str:
        done = subprocess.run(
            argv, env={**os.environ, **given}, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done.stdout

    def argv(
        self, pod: Mapping[str, Any], container: str, number: int, variables: Mapping[str, str]
    ) -> list[str]:
        """The command of a container, with what Kubernetes replaces in it."""
        first, *rest = self._container(pod, container)["command"]
        known = {"POD_NAME": f"{NAME}-{number}", **variables}
        for name, value in known.items():
            rest = [each.replace(f"$({name})", value) for each in rest]
        programs = {"etcd": find_etcd(), "python3": Path(sys.executable)}
        path = programs[first] if first in programs else program(first)
        return [str(path), *(self._local(each, pod, number) for each in rest)]

    def urls(self, text: str) -> str:
        """The same URLs on loopback."""
        for number, ports in enumerate(self._ports):
            for port, local in ports.items():
                text = text.replace(f"{NAME}-{number}.{NAME}.prod.svc:{port}", f"127.0.0.1:{local}")
        return text.replace(f"{NAME}-client.prod.svc:2379", f"127.0.0.1:{self._ports[0][2379]}")

    def _local(self, text: str, pod: Mapping[str, Any], number: int) -> str:
        text = self.urls(text)
        for port, local in self._ports[number].items():
            text = text.replace(f"0.0.0.0:{port}", f"127.0.0.1:{local}")
        text = text.replace(f"localhost:{2379}", f"127.0.0.1:{self._ports[number][2379]}")
        for volume in pod.get("volumes", []):
            if "secret" in volume:
                text = text.replace("/etc/etcd/tls", str(self.secret(volume["secret"]["secretName"])))
        text = text.replace("/var/lib/etcd", str(self._data(number)))
        scripts = Path(__file__).parents[2] / "charts" / "headgate" / "files"
        return text.replace("/backups", str(self.backups)).replace("/scripts", str(scripts))

    def _data(self, number: int) -> Path:
        folder = self._folder / f"data-{number}"
        folder.mkdir(exist_ok=True)
        return folder

    @staticmethod
    def _container(pod: Mapping[str, Any], name: str) -> dict[str, Any]:
        every = [*pod.get("initContainers", []), *pod["containers"]]
        (found,) = (each for each in every if each["name"] == name)
        assert isinstance(found, dict)
        return found


@contextmanager
def running(folder: Path) -> Iterator[ChartEtcd]:
    """Ends what the test has started."""
    etcd = ChartEtcd(folder)
    try:
        yield etcd
    finally:
        etcd.kill()
