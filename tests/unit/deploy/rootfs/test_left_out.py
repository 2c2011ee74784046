"""What images leave out of installed packages is not imported: the programs start without it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from deploy.rootfs import environment

ROOT = Path(__file__).parents[4]
# Imports as in an image: files that are not there are not found.
BLOCKED = """
import importlib.abc, importlib.machinery, sys, warnings
from pathlib import Path
from deploy.rootfs import environment

class Image(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec and spec.origin and "site-packages" in spec.origin:
            parts = Path(spec.origin[spec.origin.index("lib/python"):]).parts
            if not all(environment.wanted(Path(*parts[:end])) for end in range(3, len(parts) + 1)):
                raise ModuleNotFoundError(f"{name} is not in images", name=name)
        return None

sys.meta_path.insert(0, Image())
warnings.simplefilter("error")
"""
EXPORTERS = """
import controlplane.telemetry.providers
from controlplane.telemetry import exporters
from controlplane.telemetry.variables import PREFIX, targets
for protocol in ("grpc", "http/protobuf"):
    found = targets({f"{PREFIX}ENDPOINT": "http://127.0.0.1:9", f"{PREFIX}PROTOCOL": protocol})
    for make in (exporters.spans, exporters.metrics, exporters.logs):
        make(found["traces"])
"""


@pytest.mark.parametrize(
    "code",
    [
        "import controlplane.__main__, dns.asyncresolver, argon2, cryptography.x509",
        EXPORTERS,
        "import dataplane.supervisor.supervisor, dataplane.worker.worker",
        "import headgate.cli.app",
    ],
    ids=["control plane", "telemetry", "data plane", "command line"],
)
def test_programs_start_without_it(code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED + code], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_parts_of_a_package_are_left_out() -> None:
    site = Path("lib/python3.11/site-packages")
    incubating = site / "opentelemetry/semconv/_incubating/attributes"
    assert environment.wanted(incubating / "otel_attributes.py")
    assert not environment.wanted(incubating / "aws_attributes.py")
    assert not environment.wanted(site / "google/type")
    assert environment.wanted(site / "google/rpc")
