"""A pod of a Deployment as a process: environment, volumes, probes, preStop, SIGTERM and the grace period.

It takes the manifest as an operator wrote it. What a cluster would give is given here: the pod's name and address, and
the content of ConfigMaps, Secrets and tokens. Volumes are folders below `root`, and every path that the manifest names
below a mount is replaced by the one there.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from demo.processes import Process, start
from tests.support.waiting import PATIENCE, eventually

Manifest = Mapping[str, Any]
Data = Mapping[str, Mapping[str, str]]

_VARIABLE = re.compile(r"\$\((\w+)\)")


@dataclass(frozen=True)
class Cluster:
    """The objects that pods of a namespace refer to, by name."""

    root: Path
    """Its folder: working directories, logs and volumes of pods."""
    secrets: Data
    config_maps: Data
    programs: Path
    """The folder of the image's programs."""
    modules: Path
    """The working directory of the image."""
    account_tokens: Callable[[str, str], str] = lambda account, audience: ""
    """Makes a token of a service account for an audience."""


class Pod:
    """One pod with one container; `name` and `address` are as the downward API gives them."""

    def __init__(self, cluster: Cluster, template: Manifest, name: str, address: str) -> None:
        self.name, self.address = name, address
        self.process: Process | None = None
        self._cluster = cluster
        self._spec: Manifest = template["spec"]
        (self._container,) = self._spec["containers"]
        self._folder = cluster.root / name
        self._mounts = {mount["mountPath"]: self._mounted(mount) for mount in self._container["volumeMounts"]}
        self.environment = self._environment()

    async def ready(self, within: float = PATIENCE) -> None:
        """Start, and wait for the probes in the order of the kubelet: startup, then readiness; liveness holds, too."""
        argv = [self._path(word) for word in self._container["command"]]
        environment = {**self.environment, "PYTHONPATH": str(self._cluster.modules)}
        self.process = start(self.name, self._command(argv), environment, self._folder)
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            await eventually(lambda probe=probe: self._passes(probe), within=within)  # type: ignore[misc]

    async def stop(self) -> int:
        """preStop, SIGTERM, and SIGKILL after the grace period; the exit code. A failed hook is an AssertionError."""
        assert self.process is not None
        grace = float(self._spec["terminationGracePeriodSeconds"])
        hook = await asyncio.to_thread(self._pre_stop, grace)
        assert hook.returncode == 0, hook.stdout + hook.stderr
        self.process.signal(signal.SIGTERM)
        return await asyncio.to_thread(self.process.popen.wait, grace)

    def kill(self) -> None:
        """End it, if it runs."""
        if self.process is not None:
            self.process.kill()

    # Inside

    def _pre_stop(self, grace: float) -> subprocess.CompletedProcess[str]:
        # Kubernetes expands no variables in a hook.
        argv = self._container["lifecycle"]["preStop"]["exec"]["command"]
        inherited = {"PATH": os.environ["PATH"], "HOME": str(self._folder)}
        return subprocess.run(
            self._command(argv),
            env=inherited | self.environment,
            cwd=self._folder,
            text=True,
            capture_output=True,
            timeout=grace,
        )

    async def _passes(self, name: str) -> bool:
        get = self._container[name]["httpGet"]
        ports = {port["name"]: port["containerPort"] for port in self._container["ports"]}
        url = f"http://{self.address}:{ports.get(get['port'], get['port'])}{get['path']}"
        async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
            return 200 <= (await client.get(url)).status_code < 400

    def _command(self, argv: list[str]) -> list[str]:
        """The program from the image's folder, whatever the PATH of the test is."""
        return [sys.executable, str(self._cluster.programs / argv[0]), *argv[1:]]

    def _environment(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for variable in self._container["env"]:
            value = variable["value"] if "value" in variable else self._from(variable["valueFrom"])
            found[variable["name"]] = self._path(value, found)
        return found

    def _from(self, source: Manifest) -> str:
        (kind, reference), *_ = source.items()
        if kind == "fieldRef":
            return {"metadata.name": self.name, "status.podIP": self.address}[reference["fieldPath"]]
        data = {"configMapKeyRef": self._cluster.config_maps, "secretKeyRef": self._cluster.secrets}[kind]
        return data[reference["name"]][reference["key"]]

    def _path(self, text: str, environment: Mapping[str, str] | None = None) -> str:
        """A value of the manifest with its variables, and with the place of a volume."""
        known = self.environment if environment is None else environment
        text = _VARIABLE.sub(lambda match: known.get(match[1], match[0]), text)
        for path, folder in self._mounts.items():
            if text == path or text.startswith(f"{path}/"):
                return str(folder) + text[len(path) :]
        return text

    def _mounted(self, mount: Manifest) -> Path:
        (volume,) = (each for each in self._spec["volumes"] if each["name"] == mount["name"])
        folder = self._folder / "volumes" / str(mount["name"])
        folder.mkdir(parents=True)
        for name, content in self._content(volume).items():
            (folder / name).write_text(content)
        return folder

    def _content(self, volume: Manifest) -> Mapping[str, str]:
        if "secret" in volume:
            return self._cluster.secrets[volume["secret"]["secretName"]]
        if "projected" in volume:
            sources = (source["serviceAccountToken"] for source in volume["projected"]["sources"])
            account = self._spec["serviceAccountName"]
            return {one["path"]: self._cluster.account_tokens(account, one["audience"]) for one in sources}
        source = volume["configMap"]
        data = self._cluster.config_maps[source["name"]]
        items = source.get("items") or [{"key": key, "path": key} for key in data]
        return {item["path"]: data[item["key"]] for item in items}
