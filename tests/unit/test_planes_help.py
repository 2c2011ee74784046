"""`headgate-dataplane --help` and the like answer without a single setting."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("plane", ["dataplane", "controlplane"])
def test_help_and_version_need_no_settings(plane: str, tmp_path: Path) -> None:
    environment = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "proto")]), "PATH": os.defpath}

    def ask(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", plane, *arguments],
            cwd=tmp_path,
            env=environment,
            text=True,
            capture_output=True,
            timeout=120,
        )

    version = ask("--version")
    assert (version.returncode, version.stderr) == (0, "")
    assert version.stdout.startswith(f"headgate-{plane} 0.")
    shown = ask("--help")
    assert shown.returncode == 0
    assert "DATAPLANE_TOKEN" in shown.stdout and "docs/reference/settings.md" in shown.stdout
    wrong = ask("--port", "1")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "unrecognized arguments: --port 1" in wrong.stderr
