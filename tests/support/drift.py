"""Generated code must be what `make proto` generates: compare, without touching the working tree."""

from __future__ import annotations

import filecmp
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support import kinds_table, schema_file

ROOT = Path(__file__).parents[2]
GENERATED = ("proto", "controlplane/store/etcdpb")


def generate(target: Path) -> None:
    """Run the two generator lines of the Makefile with `target` instead of the checkout."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    wire = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "proto").rglob("*.proto"))
    etcd = sorted(str(path.relative_to(ROOT)) for path in (ROOT / GENERATED[1]).glob("*.proto"))
    protoc = [sys.executable, "-m", "grpc_tools.protoc"]
    (target / "proto").mkdir()
    out = target / "proto"
    flags = [f"--{kind}_out={out}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")]
    subprocess.run([*protoc, "-I", "proto", *flags, *wire], cwd=ROOT, env=environment, check=True)
    flags = [f"--{kind}_out={target}" for kind in ("python", "mypy")]
    subprocess.run([*protoc, "-I", ".", *flags, *etcd], cwd=ROOT, env=environment, check=True)


def drifted(target: Path) -> list[str]:
    """Paths whose committed content differs from the generated one in `target`, or is missing on one side."""
    fresh = {path.relative_to(target) for path in target.rglob("*_pb2*.py*")}
    committed = {
        path.relative_to(ROOT)
        for folder in GENERATED
        for path in (ROOT / folder).rglob("*_pb2*.py*")
        if "__pycache__" not in path.parts
    }
    same = {path for path in fresh & committed if filecmp.cmp(target / path, ROOT / path, shallow=False)}
    return sorted(str(path) for path in (fresh | committed) - same)


def main() -> int:
    """Print every drifted file; exit 1 if there is one."""
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        stale = drifted(Path(folder))
    if kinds_table.TARGET.read_text() != kinds_table.table():
        stale.append("sdk/headgate/cli/resource_kinds.py")
    if schema_file.TARGET.read_text() != schema_file.content():
        stale.append("sdk/headgate/cli/schema.json")
    for path in stale:
        sys.stderr.write(f"{path} is not what is generated; run: make proto\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
