"""Every page of the tutorial, followed as by a new user, beside a running demo."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.ports import free_port
from demo.world import World
from tests.support.reader import Reader

pytestmark = pytest.mark.timeout(600)

PAGES = Path(__file__).resolve().parents[2] / "docs/tutorial"


@pytest.fixture
def reader(world: World, tmp_path: Path) -> Iterator[Reader]:
    """In a folder whose .headgate is the demo's, with the demo's environment activated."""
    (tmp_path / ".headgate").symlink_to(world.folder)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADGATE_")}
    environment |= {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "HEADGATE_CONTROLPLANE": world.controlplane.grpc,
        "NO_PROXY": "*",
    }
    first = world.dataplanes[0]
    replaced = {
        "localhost:8000": f"localhost:{first.port}",
        "localhost:8001": f"localhost:{first.status_port}",
        "localhost:8080": f"localhost:{world.controlplane.admin_port}",
        "9000": str(free_port()),
    }
    reader = Reader(tmp_path, environment, replaced)
    yield reader
    reader.close()


@pytest.mark.parametrize("page", sorted(path.name for path in PAGES.glob("*.md")))
def test_page(reader: Reader, page: str) -> None:
    reader.follow(PAGES / page)
    assert not reader.servers, "the page stops what it has started"


def test_the_first_service_takes_twelve_lines() -> None:
    page = (PAGES / "index.md").read_text()
    code = page.split("```python\n# shop.py\n")[1].split("```")[0]
    assert len([line for line in code.splitlines() if line.strip()]) <= 12
