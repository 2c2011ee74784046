"""Fuzzes both sides, one after the other: `make fuzz`, or `python -m tests.fuzz --seconds 30`.

Installs atheris where it lacks. A machine that it has no wheel for is told so and let off; anything else that keeps it
from fuzzing is an error. What is found ends the run with the input that shows it.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = Path("build") / "fuzz"
SIDES = {"request": "clients", "response": "instances"}
ELSEWHERE = ("--platform", "manylinux2014_x86_64", "--python-version", "3.11")
"""A machine that there is a wheel for, to tell "none for this one" from "no way to any"."""


def main() -> int:
    """Read the command line, install, fuzz."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=30, help="at most this long for each side (30)")
    parser.add_argument(
        "--runs", type=int, default=-1, help="at most so many inputs for each side (any number)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="the same seed tries the same inputs (0: others each time)"
    )
    arguments = parser.parse_args()
    os.chdir(ROOT)
    failed = _pip("install", "--only-binary", ":all:", "-r", "requirements-fuzz.txt")
    if failed:
        return _excused(failed)
    FOLDER.mkdir(parents=True, exist_ok=True)
    bounds = (f"-max_total_time={arguments.seconds}", f"-runs={arguments.runs}", f"-seed={arguments.seed}")
    return 0 if all(_fuzz(side, bounds) for side in SIDES) else 1


def verdict(side: str, code: int, log: str) -> tuple[bool, str]:
    """Whether a run found nothing, and what there is to say of it."""
    count = re.search(r"stat::number_of_executed_units: (\d+)", log)
    if code == 0 and count is not None and int(count[1]):
        return True, f"  {int(count[1]):,} inputs, nothing found"
    written = re.search(r"Test unit written to (\S+)", log)
    if written is None:
        return False, f"{_end_of(log)}\n\n  FAILED: fuzzing ended without having fuzzed (exit {code})"
    return False, (
        f"{_end_of(log)}\n\n"
        f"  FOUND: {written[1]}\n"
        f"  again: {sys.executable} -m tests.fuzz.{side} {written[1]}\n"
        f"  mended: keep it in tests/fuzz/corpus/{side}, where every test run tries it"
    )


def _end_of(log: str) -> str:
    """What went wrong: the exception's traceback, or, of a time-out or a crash, the last lines."""
    begin = log.find("=== Uncaught Python exception")
    lines = (log[begin:] if begin >= 0 else log).splitlines()
    return "\n".join(lines[:40] if begin >= 0 else lines[-40:])


def _fuzz(side: str, bounds: tuple[str, ...]) -> bool:
    corpus, log = FOLDER / side, FOLDER / f"{side}.log"
    corpus.mkdir(exist_ok=True)
    _say(f"Fuzzing what {SIDES[side]} may say: {' '.join(bounds)} (log: {log}) …")
    limits = (*bounds, "-timeout=10", "-rss_limit_mb=1024", "-max_len=8192")
    command = (sys.executable, "-m", f"tests.fuzz.{side}", str(corpus), f"tests/fuzz/corpus/{side}", *limits)
    with log.open("wb") as out:
        done = subprocess.run(
            (*command, f"-artifact_prefix={FOLDER}/{side}-", "-print_final_stats=1"),
            # What is tried next depends on what was reached, and that on the order of sets.
            env={**os.environ, "PYTHONHASHSEED": "0"},
            stdout=out,
            stderr=subprocess.STDOUT,
            check=False,
        )
    clean, said = verdict(side, done.returncode, log.read_text(errors="replace"))
    _say(said)
    return clean


def _excused(failed: str) -> int:
    """Nothing was installed: 0 if there is no wheel for this machine, else 1."""
    if _downloads() or not _downloads(*ELSEWHERE):
        _say(f"{failed}\n\n  FAILED: atheris could not be installed")
        return 1
    python = f"{platform.python_implementation()} {platform.python_version()}"
    _say(f"NOT FUZZED: atheris has no wheel for {python} on {platform.system()} {platform.machine()}")
    return 0


def _downloads(*machine: str) -> bool:
    """Whether there is a wheel for this or another machine, and a way to it."""
    with tempfile.TemporaryDirectory() as folder:
        return not _pip(
            "download", "--no-deps", "--only-binary", ":all:", "--dest", folder, *machine, "atheris"
        )


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _pip(*arguments: str) -> str:
    """Nothing if it did what it was told, else what it said."""
    pinned = {**os.environ, "PIP_CONSTRAINT": str(ROOT / "constraints.txt")}
    command: Sequence[str] = (
        sys.executable,
        "-m",
        "pip",
        *arguments,
        "--quiet",
        "--disable-pip-version-check",
    )
    done = subprocess.run(command, env=pinned, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr or f"pip ended with {done.returncode}"


if __name__ == "__main__":
    sys.exit(main())
