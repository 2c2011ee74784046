"""The rules and queries for Prometheus, as its own tool sees them. PROMTOOL names it if it is not on the path."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.support.reference.metrics import families

ROOT = Path(__file__).parents[3]
PROMTOOL = os.environ.get("PROMTOOL") or shutil.which("promtool")

pytestmark = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool is not on the path, and PROMTOOL is not set"
)


def promtool(*argv: str | Path) -> None:
    assert PROMTOOL is not None
    command = (PROMTOOL, *argv)
    done = subprocess.run(
        command, cwd=ROOT / "deploy" / "prometheus", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_are_valid_and_alert_when_they_should() -> None:
    promtool("check", "rules", "rules.yml")
    promtool("test", "rules", "rules_test.yml")


def test_every_query_of_the_reference_is_valid(tmp_path: Path) -> None:
    queries = [query for _, _, queries in families() for query in queries.values()]
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(queries)]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    promtool("check", "rules", file)
