"""An earlier commit, for the test of upgrades: its chart and its sources, from the repository's history."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path

from demo.processes import ROOT
from tests.support.kubernetes import checkout
from tests.support.kubernetes.steps import Steps, say

REVISION = "c9e47d6c8f7302ec7806f5c8e7b12c8b9ffb8c3a"
"""The last commit whose chart has few values, and one Service of the control plane."""
TAG = "older"


def revision(environment: Mapping[str, str] = os.environ) -> str:
    """The commit to upgrade from: UPGRADE_FROM."""
    return environment.get("UPGRADE_FROM") or REVISION


def export(folder: Path, *paths: str) -> bool:
    """Write the commit, or these paths of it, to a folder. False if the repository does not have the commit."""
    ended = subprocess.run(
        ["git", "archive", "--format=tar", revision(), *paths], cwd=ROOT, capture_output=True, check=False
    )
    if ended.returncode:
        return False
    with tarfile.open(fileobj=io.BytesIO(ended.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return True


def prepare(folder: Path, steps: Steps) -> None:
    """Write an archive of images with the tag TAG to folder/images, if the repository has the commit."""
    with steps.step("write images of an earlier commit"):
        if export(folder / "older"):
            checkout.write_headgate(folder / "images", TAG, folder / "older")
        else:
            say("  The repository does not have it: its test is skipped.")
