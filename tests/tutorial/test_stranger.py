"""From a clone to a user's own service, with only README and the tutorial."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from demo.ports import free_port
from demo.processes import Process, start
from tests.support.pages import ROOT, blocks
from tests.support.reader import PATIENCE, Reader
from tests.support.waiting import eventually_now

pytestmark = pytest.mark.timeout(900)

NOT_CLONED = shutil.ignore_patterns(
    ".git", ".venv", ".headgate", "build", "__pycache__", ".*_cache", ".hypothesis"
)
VENV = Path(sys.executable).parents[1]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A checkout with everything installed."""
    folder = tmp_path / "head gate"
    shutil.copytree(ROOT, folder, ignore=NOT_CLONED, symlinks=True)
    (folder / ".venv").symlink_to(VENV)
    return folder


@pytest.fixture
def reader(clone: Path) -> Iterator[Reader]:
    """A reader with other ports than those of the pages, because other tests use those."""
    mine = free_port()
    # Eighty ports of one block that this process owns.
    base = next(port for port in (free_port() for _ in count()) if port % 100 < 20)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADGATE_")}
    environment |= {
        "PATH": f"{clone / '.venv/bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": "",
        "XDG_CONFIG_HOME": str(clone.parent / "config"),
        "HEADGATE_CONTROLPLANE": f"127.0.0.1:{base + 51}",
        "PORT_BASE": str(base),
        "NO_PROXY": "*",
    }
    replaced = {
        "localhost:8000": f"localhost:{base}",
        "localhost:8001": f"localhost:{base + 1}",
        "localhost:8080": f"localhost:{base + 80}",
        "9000": str(mine),
    }
    reader = Reader(clone, environment, replaced)
    yield reader
    reader.close()


@pytest.fixture
def demo(reader: Reader) -> Iterator[Process]:
    """`make demo`, as README says; what it would install is there, whatever the times of the copied files say."""
    command = ["make", "-o", ".venv/.installed-run", "demo"]
    process = start("demo", command, reader.environment, reader.folder)
    try:
        eventually_now(lambda: is_up(process), within=PATIENCE)
        yield process
    finally:
        process.stop(60)


def is_up(demo: Process) -> bool:
    assert demo.running, demo.tail()
    return "Ctrl-C stops everything." in demo.log.read_text()


def test_from_a_clone_to_a_service_of_ones_own(reader: Reader, demo: Process) -> None:
    assert "no step failed" in demo.log.read_text()
    look_around = next(block for block in blocks(ROOT / "README.md") if "/auth/token" in block.text)
    reader.run(reader.here(look_around.text))
    assert "HTTP/1.1 200 OK" in reader.printed and '"service":"orders"' in reader.printed
    reader.follow(reader.folder / "docs/tutorial/index.md")
    assert not reader.servers, "the page stops what it has started"
