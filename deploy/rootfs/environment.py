"""The virtual environment: the installed distributions and their programs, without what is not run."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

from deploy.rootfs import files
from deploy.rootfs.stdlib import INTERPRETER

LEFT_OUT = (
    *("__pycache__", "tests", "test", "_test"),
    # Sources of extension modules, and what only a type checker reads.
    *("*.pyi", "*.pxd", "*.pyx", "*.pxi", "*.c", "*.cc", "*.h", "*.a"),
    # pip's own notes. What it lists has been stripped since.
    *("RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json"),
    # The parser of C with which cffi builds modules, and bills of materials inside packages: images have their own.
    *("pycparser", "pycparser-*.dist-info", "sboms"),
)
"""Patterns of names."""
UNUSED = (
    # The old pydantic inside the new one.
    *("site-packages/pydantic/v1", "site-packages/pydantic/mypy.py"),
    # The maker of extension modules; those that were made need `_cffi_backend` alone.
    "site-packages/cffi",
    # It guesses the encodings of answers that name none. `requests` does without.
    "site-packages/charset_normalizer",
    # Messages of other services than those that OTLP answers with (google/rpc).
    *(f"site-packages/google/{name}" for name in ("api", "cloud", "gapic", "logging", "longrunning", "type")),
    # For a browser, for another event loop, for tests.
    *("urllib3/contrib/emscripten", "anyio/_backends/_trio.py", "anyio/pytest_plugin.py"),
    # Descriptions of descriptions, which the compiler of protobuf reads.
    *(f"google/protobuf/{name}" for name in ("descriptor_pb2.py", "compiler", "testdata")),
    # Signed zones, and a transport that needs another package.
    *("dns/dnssecalgs", "dns/zone.py", "dns/zonefile.py", "dns/versioned.py", "dns/_trio_backend.py"),
    # An interface of gRPC before 1.0.
    *("site-packages/grpc/beta", "site-packages/grpc/framework"),
)
"""Ends of paths: what nothing here imports. `tests/unit/deploy/rootfs/test_left_out.py` holds them to that."""
INCUBATING = "opentelemetry/semconv/_incubating/"
"""Names of attributes and metrics of all kinds of programs."""
INCUBATING_USED = ("__init__.py", "otel_attributes.py", "rpc_attributes.py", "otel_metrics.py")


def wanted(path: Path) -> bool:
    """Whether a file or folder of an environment is in images."""
    if path.parts[0] == "bin" and len(path.parts) > 1:
        return path.name.startswith("headgate")
    if path.parts[0] == "include" or path.as_posix().endswith(UNUSED):
        return False
    if INCUBATING in path.as_posix() and path.suffix == ".py" and path.name not in INCUBATING_USED:
        return False
    return not any(fnmatch(path.name, pattern) for pattern in LEFT_OUT)


def site_packages(environment: Path) -> Path:
    """Where distributions are installed."""
    (found,) = environment.glob("lib/python3*/site-packages")
    return found


def copy(environment: Path, out: Path) -> None:
    """Copy the environment to the same path in the tree."""
    files.copy_tree(environment, out, wanted)
    programs = files.inside(out, environment) / "bin"
    for name in ("python", "python3"):
        files.link(str(INTERPRETER), programs / name)
