"""Builds the programs of the cluster from Go modules, into a folder outside the repository that later runs use again.

Kubernetes and containerd are built in scratch modules. The module k8s.io/kubernetes takes its parts from its own
folder, which its archive does not contain, so the scratch module replaces each part with the published module of that
name.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.kubernetes.steps import Steps

PAUSE = Path(__file__).with_name("pause.go")
STAGING = (
    "api",
    "apiextensions-apiserver",
    "apimachinery",
    "apiserver",
    "cli-runtime",
    "client-go",
    "cloud-provider",
    "cluster-bootstrap",
    "code-generator",
    "component-base",
    "component-helpers",
    "controller-manager",
    "cri-api",
    "cri-client",
    "cri-streaming",
    "csi-translation-lib",
    "dynamic-resource-allocation",
    "endpointslice",
    "externaljwt",
    "kms",
    "kube-aggregator",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubectl",
    "kubelet",
    "metrics",
    "mount-utils",
    "pod-security-admission",
    "sample-apiserver",
    "sample-cli-plugin",
    "sample-controller",
    "streaming",
)
"""The parts of Kubernetes that are modules of their own, as of 1.36."""


class ToolMissing(Exception):
    """A program is missing or could not be built; the message says what to do."""


@dataclass(frozen=True, slots=True)
class GoModule:
    """Programs of one module."""

    name: str
    version: str
    programs: Mapping[str, str]
    """Package by program."""
    replaced: Mapping[str, str]
    """Version by module."""
    variables: Mapping[str, str]
    """String variables that are set at link time."""

    def go_mod(self) -> str:
        """The scratch module, before `go get` adds what is required."""
        lines = [f"module headgate.test/{self.name}", "", "go 1.26.0", ""]
        lines += [f"replace {module} => {module} {version}" for module, version in self.replaced.items()]
        return "\n".join(lines) + "\n"

    def linker_flags(self) -> str:
        """No symbols; and the version, which is compared with other programs' and shown to clients."""
        return " ".join(["-s -w", *(f"-X {name}={value}" for name, value in self.variables.items())])


SERVERS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")


def kubernetes(version: str) -> GoModule:
    """The servers of a Kubernetes version such as 1.36.3."""
    major, minor, patch = version.split(".")
    known = {"gitVersion": f"v{version}", "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return GoModule(
        name="kubernetes",
        version=version,
        programs={program: f"k8s.io/kubernetes/cmd/{program}" for program in SERVERS},
        replaced={f"k8s.io/{part}": f"v0.{minor}.{patch}" for part in STAGING},
        variables={f"{package}.{name}": value for package in packages for name, value in known.items()},
    )


KUBERNETES = kubernetes("1.36.3")
CONTAINERD = GoModule(
    name="containerd",
    version="2.4.2",
    programs={
        program: f"github.com/containerd/containerd/v2/cmd/{program}"
        for program in ("containerd", "containerd-shim-runc-v2", "ctr")
    },
    replaced={},
    variables={},
)
ETCD = GoModule(
    name="etcd",
    # That of the image in the chart's values.
    version="3.5.17",
    programs={
        "etcd": "go.etcd.io/etcd/server/v3",
        "etcdctl": "go.etcd.io/etcd/etcdctl/v3",
        "etcdutl": "go.etcd.io/etcd/etcdutl/v3",
    },
    replaced={},
    variables={},
)
"""For pods: the etcd of the other tests may be older than the chart's probes need."""


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """The folder of built programs: some 4 GB, most of it Go's own caches."""
    return Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "headgate-k8s"


def build(cache: Path, steps: Steps) -> dict[str, Path]:
    """The path of every program by name. Programs that are missing are built, which takes minutes."""
    found = {"pause": _pause(cache, steps)}
    for module in (KUBERNETES, CONTAINERD, ETCD):
        found |= _programs(module, cache, steps)
    return found


def _programs(module: GoModule, cache: Path, steps: Steps) -> dict[str, Path]:
    folder = cache / f"{module.name}-{module.version}"
    found = {program: folder / "bin" / program for program in module.programs}
    if all(path.exists() for path in found.values()):
        return found
    with steps.step(f"download {module.name} {module.version}"):
        _require(module, folder, cache)
    for package, target in zip(module.programs.values(), found.values(), strict=True):
        if not target.exists():
            with steps.step(f"build {target.name} {module.version}"):
                _compile(package, target, folder, cache, module.linker_flags())
    return found


def _require(module: GoModule, folder: Path, cache: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "go.mod").write_text(module.go_mod())
    _go(
        ("get", "-tool", *(f"{package}@v{module.version}" for package in module.programs.values())),
        folder,
        cache,
    )


def _pause(cache: Path, steps: Steps) -> Path:
    target = cache / "pause" / "bin" / "pause"
    if not target.exists() or target.stat().st_mtime < PAUSE.stat().st_mtime:
        with steps.step("build pause"):
            _compile(str(PAUSE), target, cache, cache, "-s -w")
    return target


def _compile(package: str, target: Path, folder: Path, cache: Path, linker_flags: str) -> None:
    """Build one program; under its name only when it is complete."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.partial")
    # Without debug information, which takes a tenth of the time of the compiler.
    _go(
        (
            "build",
            "-trimpath",
            "-gcflags=all=-dwarf=false",
            f"-ldflags={linker_flags}",
            "-o",
            str(partial),
            package,
        ),
        folder,
        cache,
    )
    partial.replace(target)


def _go(arguments: tuple[str, ...], folder: Path, cache: Path) -> None:
    go = shutil.which("go")
    if go is None:
        raise ToolMissing(
            "there is no go: install Go 1.26 or newer, or set KUBECONFIG to use a cluster of yours"
        )
    environment = {
        **os.environ,
        "CGO_ENABLED": "0",
        # A variable, because `go get` refuses this flag as an argument.
        "GOFLAGS": "-mod=mod",
        "GOMODCACHE": str(cache / "gomod"),
        "GOCACHE": str(cache / "gobuild"),
    }
    ended = subprocess.run(
        [go, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if ended.returncode:
        raise ToolMissing(f"go {arguments[0]} failed:\n{ended.stderr[-4000:]}")
