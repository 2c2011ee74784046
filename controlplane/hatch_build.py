"""Builds the dashboard's assets into the wheel, if its sources are beside this package and npm can be had.

A wheel without assets works: the control plane says so at `/`. HEADGATE_DASHBOARD=require makes that an error, for
releases; HEADGATE_DASHBOARD=skip builds nothing.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Assets(BuildHookInterface):  # type: ignore[type-arg]
    """Builds them before the files of the wheel are collected."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before a build. An editable install serves what `make dashboard` built."""
        wanted = os.environ.get("HEADGATE_DASHBOARD", "")
        script = Path(self.root).parent / "dashboard" / "build.py"
        if version == "editable" or wanted == "skip" or not script.exists():
            return
        arguments = [] if wanted == "require" else ["--if-possible"]
        subprocess.run([sys.executable, str(script), *arguments], check=True)  # noqa: S603
