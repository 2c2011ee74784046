"""Which requirements an image of the checkout has."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support.kubernetes import checkout
from tests.support.kubernetes.checkout import applies


def test_requirements_hold_for_this_system_and_these_extras() -> None:
    assert applies("grpcio>=1.80")
    assert not applies('colorama; sys_platform == "none"')
    assert not applies('httpx; extra == "cli"')
    assert applies('httpx; extra == "cli"', {"cli"})


def test_the_layer_has_our_packages_and_their_requirements() -> None:
    targets = {target for _, target in [*checkout._own(), *checkout._packages()]}
    packages = f"{checkout.PACKAGES}/"
    assert {
        f"{packages}{name}/__init__.py" for name in ("controlplane", "dataplane", "headgate", "grpc")
    } <= targets
    assert not any(target.startswith(f"{packages}pytest/") for target in targets)


def test_needed_libraries_are_added() -> None:
    targets = {target for _, target in checkout._libraries([Path(sys.executable)])}
    assert any(Path(target).name.startswith("libc.so") for target in targets)
