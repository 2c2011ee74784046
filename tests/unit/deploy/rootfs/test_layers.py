"""What goes into the layers of an image, and what does not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from deploy.rootfs import environment, files, libraries, stdlib


@pytest.mark.parametrize(
    "path",
    [
        *(
            "os.py",
            "asyncio/tasks.py",
            "decimal.py",
            "LICENSE.txt",
            "lib-dynload/_ssl.cpython-311-x86_64.so",
        ),
        *("_sysconfigdata__x86_64-linux-gnu.py", "encodings/idna.py", "venvs.py"),
    ],
)
def test_the_library_of_a_server_is_kept(path: str) -> None:
    assert stdlib.wanted(Path(path))


@pytest.mark.parametrize(
    "path",
    [
        *(
            "test",
            "unittest",
            "_pydecimal.py",
            "idlelib",
            "__pycache__",
            "asyncio/__pycache__",
            "site-packages",
            "ensurepip",
        ),
        *("config-3.11-x86_64-linux-gnu", "lib-dynload/_sqlite3.cpython-311-x86_64.so", "turtle.py"),
    ],
)
def test_the_rest_of_the_library_is_left_out(path: str) -> None:
    assert not stdlib.wanted(Path(path))


def test_of_an_environment_our_programs_and_all_packages_are_kept() -> None:
    site = Path("lib/python3.11/site-packages")
    kept: list[str | Path] = [
        "bin",
        "bin/headgate-dataplane",
        "pyvenv.cfg",
        site / "grpc/aio/_call.py",
        site / "pydantic/v2.py",
        site / "x-1.0.dist-info/METADATA",
    ]
    left: list[str | Path] = [
        "bin/activate",
        "bin/uvicorn",
        "include",
        site / "grpc/_cython/cygrpc.pyx",
        site / "x/tests",
        site / "x.pyi",
        site / "pydantic/v1",
    ]
    assert all(environment.wanted(Path(path)) for path in kept)
    assert not any(environment.wanted(Path(path)) for path in left)


def test_the_loader_names_the_libraries_of_a_program() -> None:
    assert any(path.name.startswith("libc.so") for path in libraries.needed(Path(sys.executable).resolve()))


def test_all_files_get_one_time(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    files.set_times(tmp_path, 1_700_000_000)
    for path in (tmp_path, *tmp_path.rglob("*")):
        assert path.lstat().st_mtime == 1_700_000_000


def test_modules_are_compiled_without_time_and_place(tmp_path: Path) -> None:
    made = []
    for name in ("one", "two"):
        source = tmp_path / name / "opt" / "module.py"
        source.parent.mkdir(parents=True)
        source.write_text("def f(): return __file__\n")
        (source.parent / "broken.py").write_text("def\n")
        stdlib.compile_below(tmp_path / name)
        (compiled,) = (source.parent / "__pycache__").iterdir()
        made.append(compiled.read_bytes())
    assert made[0] == made[1]
    assert b"/opt/module.py" in made[0]
    assert str(tmp_path).encode() not in made[0]


@pytest.mark.parametrize(("mode", "copied"), [(0o600, 0o644), (0o700, 0o755), (0o664, 0o644)])
def test_everybody_may_read_what_is_copied(tmp_path: Path, mode: int, copied: int) -> None:
    """Whatever the umask was with which the checkout was made."""
    source = tmp_path / "healthcheck.py"
    source.touch()
    source.chmod(mode)
    files.copy_file(source, tmp_path / "out" / "healthcheck.py")
    assert (tmp_path / "out" / "healthcheck.py").stat().st_mode & 0o777 == copied
