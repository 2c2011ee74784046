"""What a run of the fuzzer is told as: a finding with its input, and never "nothing found" where nothing was tried."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.fuzz import __main__ as fuzz

STATS = "stat::number_of_executed_units: 80870\nstat::average_exec_per_sec: 1325\n"
CRASH = (
    "#18703 REDUCE cov: 691\n"
    " === Uncaught Python exception: ===\n"
    "AssertionError: read in two ways: cut by 1\n"
    "==2540== ERROR: libFuzzer: fuzz target exited\n"
    "artifact_prefix='build/fuzz/'; Test unit written to build/fuzz/request-crash-f06b\n"
)


def test_nothing_found() -> None:
    assert fuzz.verdict("request", 0, f"INFO: …\n{STATS}") == (True, "  80,870 inputs, nothing found")


def test_a_finding_is_told_with_its_input() -> None:
    clean, said = fuzz.verdict("request", 77, CRASH + STATS)
    assert not clean
    assert "read in two ways" in said and "REDUCE" not in said
    assert "\n  FOUND: build/fuzz/request-crash-f06b\n" in said
    assert f"{sys.executable} -m tests.fuzz.request build/fuzz/request-crash-f06b\n" in said


@pytest.mark.parametrize(
    ("code", "log"),
    [
        (0, ""),
        (0, "stat::number_of_executed_units: 0\n"),
        (1, "ModuleNotFoundError: dataplane\n"),
        (-9, STATS),
    ],
)
def test_what_did_not_fuzz_is_no_success(code: int, log: str) -> None:
    clean, said = fuzz.verdict("response", code, log)
    assert not clean and f"(exit {code})" in said


@pytest.mark.parametrize(
    ("here", "elsewhere", "code", "told"),
    [
        (False, True, 0, "NOT FUZZED: atheris has no wheel for "),
        (True, True, 1, "disk full"),
        (False, False, 1, "no network"),
    ],
    ids=["no wheel for this machine", "a wheel that does not install", "no way to any wheel"],
)
def test_only_a_machine_without_a_wheel_is_let_off(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    here: bool,
    elsewhere: bool,
    code: int,
    told: str,
) -> None:
    monkeypatch.setattr(fuzz, "_downloads", lambda *machine: elsewhere if machine else here)
    assert fuzz._excused("disk full" if here else "no network") == code
    assert told in capsys.readouterr().out


def test_without_an_index_it_fails() -> None:
    """The whole way, with pip itself: an index that nobody answers at is no excuse."""
    unreachable = {
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_RETRIES": "0",
        "PATH": "",
        "PIP_CONFIG_FILE": "/dev/null",
    }
    script = "import sys; from tests.fuzz import __main__ as fuzz; sys.exit(fuzz._excused('pip failed'))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=fuzz.ROOT,
        env=unreachable,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and "FAILED: atheris could not be installed" in done.stdout
