"""Which requirements an image of the checkout has."""

from __future__ import annotations

import py_compile
import sys
from pathlib import Path

from demo.processes import ROOT
from tests.support.kubernetes import checkout
from tests.support.kubernetes.checkout import applies


def test_requirements_hold_for_this_system_and_these_extras() -> None:
    assert applies("grpcio>=1.80")
    assert not applies('colorama; sys_platform == "none"')
    assert not applies('httpx; extra == "cli"')
    assert applies('httpx; extra == "cli"', {"cli"})


def test_the_layer_has_our_packages_and_their_requirements() -> None:
    targets = {target for _, target in [*checkout._own(ROOT), *checkout._packages()]}
    packages = f"{checkout.PACKAGES}/"
    assert {
        f"{packages}{name}/__init__.py" for name in ("controlplane", "dataplane", "headgate", "grpc")
    } <= targets
    assert not any(target.startswith(f"{packages}pytest/") for target in targets)


def test_needed_libraries_are_added() -> None:
    targets = {target for _, target in checkout._libraries([Path(sys.executable)])}
    assert any(Path(target).name.startswith("libc.so") for target in targets)


def test_the_layer_has_bytecode_of_every_module(tmp_path: Path) -> None:
    module = tmp_path / "thing.py"
    module.write_text("x = 1")
    py_compile.compile(str(module))
    ((cached, target),) = checkout._compiled(module, Path("/opt/packages/thing.py"))
    assert cached.exists()
    assert target == f"/opt/packages/__pycache__/{cached.name}"
    assert not list(checkout._compiled(tmp_path / "other.py", Path("/opt/other.py")))
