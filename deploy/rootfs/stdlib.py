"""The interpreter and its standard library, without what no server uses."""

from __future__ import annotations

import importlib.util
import py_compile
import sys
import sysconfig
from fnmatch import fnmatch
from pathlib import Path

from deploy.rootfs import files

STDLIB = Path(sysconfig.get_path("stdlib"))
INTERPRETER = Path(sys.executable).resolve()
LEFT_OUT = (
    *("__pycache__", "site-packages", "dist-packages", "EXTERNALLY-MANAGED", "sitecustomize.py"),
    # Tests, headers and the static library.
    *("test", "config-*", "ctypes/test", "distutils/tests", "lib2to3", "*/tests"),
    # Windows, terminals, editors, installers, databases.
    *("idlelib", "tkinter", "turtle.py", "turtledemo", "pydoc_data", "curses", "msilib", "ensurepip", "venv"),
    *("sqlite3", "dbm", "distutils", "__phello__"),
    # Clients and servers of old protocols, tests of modules, and what stands in for an extension module that is there.
    *("xmlrpc", "mailbox.py", "imaplib.py", "nntplib.py", "poplib.py", "telnetlib.py", "smtpd.py", "aifc.py"),
    *("unittest", "doctest.py", "pydoc.py", "pickletools.py", "_pydecimal.py", "_pyio.py"),
    *(f"lib-dynload/{name}.*" for name in ("_tkinter", "_sqlite3", "_curses", "_curses_panel", "readline")),
    *(f"lib-dynload/{name}.*" for name in ("_dbm", "_gdbm", "nis", "ossaudiodev", "_crypt", "audioop")),
    # XML, and encodings of East Asian text other than Unicode: lookups of those fail as of unknown ones.
    *("xml", "lib-dynload/_codecs_*", "lib-dynload/_multibytecodec.*"),
    *("lib-dynload/_test*", "lib-dynload/_ctypes_test.*", "lib-dynload/_xxtestfuzz.*", "lib-dynload/xx*"),
)
"""Patterns of paths below the standard library."""


def wanted(path: Path) -> bool:
    """Whether a file or folder of the standard library is in images."""
    return not any(fnmatch(path.as_posix(), pattern) for pattern in LEFT_OUT) and path.name != "__pycache__"


def copy(out: Path) -> None:
    """Copy the interpreter, under its own path, and the standard library."""
    files.copy_file(INTERPRETER, files.inside(out, INTERPRETER))
    files.copy_tree(STDLIB, out, wanted)


def origins() -> list[Path]:
    """Files that tell which packages this Python comes from."""
    return [INTERPRETER, STDLIB / "os.py", STDLIB / "asyncio" / "__init__.py"]


def compile_below(out: Path) -> None:
    """Compile all modules ahead: nothing can be written at run time, and each start would compile them again.

    The compiled files are used unseen: they hold a hash of the source that is not compared, instead of its time.
    """
    for path in sorted(out.rglob("*.py")):
        _compile(path, "/" + path.relative_to(out).as_posix())


def _compile(path: Path, shown: str) -> None:
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    cache = importlib.util.cache_from_source(path)
    try:
        py_compile.compile(str(path), cache, shown, doraise=True, invalidation_mode=mode)
    except py_compile.PyCompileError as error:
        # Packages bring files for other versions of Python, and templates.
        sys.stderr.write(f"not compiled: {shown}: {error.exc_type_name}\n")
