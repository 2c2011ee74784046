"""`make` in a fresh checkout whose path has spaces: what a target installs, and what it says when it cannot."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
NEEDED = (
    *("Makefile", "VERSION", "constraints.txt", "requirements-*.txt", "*/pyproject.toml"),
    "deploy/make_secrets.py",
)
OLD = "import sys; sys.version_info, sys.version = (3, 10, 2), '3.10.2 (main)'\n"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The files that the targets depend on, in a folder with a space."""
    folder = tmp_path / "my checkout"
    for path in (path for pattern in NEEDED for path in ROOT.glob(pattern)):
        copy = folder / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    return folder


def make(folder: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run make as from a shell: without what a make that runs this test hands down."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))
    } | settings
    return subprocess.run(
        ["make", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def python(folder: Path, module: str, source: str) -> Path:
    """This interpreter with one module replaced."""
    modules = folder / "modules"
    modules.mkdir()
    (modules / f"{module}.py").write_text(source)
    script = folder / "python"
    script.write_text(f'#!/bin/sh\nPYTHONPATH="{modules}" exec "{sys.executable}" "$@"\n')
    script.chmod(0o755)
    return script


@pytest.mark.parametrize(
    ("target", "installed"),
    [
        ("demo", {"run"}),
        ("test", {"run", "dev"}),
        ("chaos", {"run", "dev"}),
        ("bench", {"run", "dev", "bench"}),
    ],
)
def test_a_target_installs_only_what_it_runs(checkout: Path, target: str, installed: set[str]) -> None:
    plan = make(checkout, "--dry-run", target)
    assert plan.returncode == 0, plan.stderr
    assert {
        name for name in ("run", "dev", "bench", "fuzz") if f"-r requirements-{name}.txt" in plan.stdout
    } == (installed)


def test_without_python_it_says_so_in_one_line(checkout: Path) -> None:
    assert complaint(checkout, "python-of-nobody") == (
        "There is no python-of-nobody: install Python 3.11 or newer, or name one: make PYTHON=python3.12"
    )


def test_with_an_old_python_it_says_so_in_one_line(checkout: Path, tmp_path: Path) -> None:
    old = python(tmp_path, "sitecustomize", OLD)
    assert complaint(checkout, str(old)) == (
        f"Headgate needs Python 3.11 or newer, and {old} is 3.10.2; name another: make PYTHON=python3.12"
    )


def test_without_venv_it_says_so_in_one_line(checkout: Path, tmp_path: Path) -> None:
    bare = python(tmp_path, "ensurepip", "raise ImportError\n")
    assert complaint(checkout, str(bare)) == (
        f"{bare} cannot make virtual environments: install its venv module "
        "(Debian, Ubuntu: apt-get install python3-venv)"
    )


def test_offline_it_says_so_in_one_line(checkout: Path, tmp_path: Path) -> None:
    nowhere = {
        "PIP_INDEX_URL": "http://127.0.0.1:1/simple",
        "PIP_CACHE_DIR": str(tmp_path / "cache"),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_RETRIES": "0",
    }
    refused = make(checkout, "demo", f"PYTHON={sys.executable}", **nowhere)
    assert refused.returncode == 2
    *_, line, last = refused.stderr.splitlines()
    assert line.startswith("pip could not install what is needed: is this machine online?")
    assert last.startswith("make: ***")


def complaint(folder: Path, interpreter: str) -> str:
    """What `make demo` says, without make's own last line."""
    refused = make(folder, "demo", f"PYTHON={interpreter}")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert not (folder / ".venv").exists()
    line, last = refused.stderr.splitlines()
    assert last.startswith("make: ***")
    return line


def test_secrets_are_written_whole_or_not_at_all(checkout: Path) -> None:
    failed = make(checkout, "secrets", "PYTHON=python-of-nobody")
    assert failed.returncode != 0
    assert not (checkout / ".env").exists()
    made = secrets_of(checkout)
    assert set(made) == {"SECRET_KEY", "DATAPLANE_TOKEN", "SERVICE_TOKEN", "ADMIN_PASSWORD"}
    assert all(len(secret) >= 32 for secret in made.values()) and len(set(made.values())) == 4
    assert (checkout / ".env").stat().st_mode & 0o077 == 0
    assert secrets_of(checkout) == made


def test_secrets_are_added_to_what_a_user_has_written(checkout: Path) -> None:
    (checkout / ".env").write_text(
        "# mine\nBASE=python:3.12-slim\nSERVICE_TOKEN=\nADMIN_PASSWORD=of my own\n"
    )
    made = secrets_of(checkout)
    assert (made["BASE"], made["ADMIN_PASSWORD"]) == ("python:3.12-slim", "of my own")
    assert all(len(made[name]) >= 32 for name in ("SECRET_KEY", "DATAPLANE_TOKEN", "SERVICE_TOKEN"))
    text = (checkout / ".env").read_text()
    assert text.startswith("# mine\n") and text.count("SERVICE_TOKEN=") == 1
    assert (checkout / ".env").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("empty", ["", '""', "''", '"" # none yet'])
def test_a_secret_that_compose_reads_as_empty_is_made(checkout: Path, empty: str) -> None:
    (checkout / ".env").write_text(f"SECRET_KEY=an older one\nSECRET_KEY={empty}\n")
    assert len(secrets_of(checkout)["SECRET_KEY"]) >= 32
    assert (checkout / ".env").read_text().count("SECRET_KEY") == 1


@pytest.mark.parametrize(
    "given",
    [
        "export ADMIN_PASSWORD=mine",
        "  ADMIN_PASSWORD = 'mine' # of my own",
        "ADMIN_PASSWORD=#mine",
        "\ufeffADMIN_PASSWORD=mine",
        "ADMIN_PASSWORD=mi\u2028ne\x0b",
    ],
)
def test_a_secret_is_never_replaced(checkout: Path, given: str) -> None:
    (checkout / "secrets").write_text(f"{given}\n")
    (checkout / ".env").symlink_to("secrets")
    secrets_of(checkout)
    assert (checkout / ".env").is_symlink()
    text = (checkout / "secrets").read_text()
    assert text.startswith(f"{given}\n") and text.count("ADMIN_PASSWORD") == 1


def test_lines_in_another_encoding_stay(checkout: Path) -> None:
    (checkout / ".env").write_bytes(b"# g\xfcltig\n")
    done = make(checkout, "secrets", f"PYTHON={sys.executable}")
    assert done.returncode == 0, done.stderr
    assert (checkout / ".env").read_bytes().startswith(b"# g\xfcltig\nSECRET_KEY=")


def secrets_of(folder: Path) -> dict[str, str]:
    """The variables in .env after `make secrets`, which shows none of them."""
    done = make(folder, "secrets", f"PYTHON={sys.executable}")
    assert done.returncode == 0, done.stderr
    lines = (folder / ".env").read_text().splitlines()
    found = dict(line.split("=", 1) for line in lines if "=" in line)
    assert not any(secret in done.stdout for secret in found.values())
    return found
