"""A shell whose commands are typed one after the other."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.kubernetes.session import session


def test_variables_stay_and_the_environment_is_there(tmp_path: Path) -> None:
    with session(tmp_path, {"GREETING": "hello"}) as shell:
        assert shell.run("WORD=$(printf world)") == ""
        # Without an end of the line.
        assert shell.run('printf "%s " $GREETING; printf $WORD') == "hello world"
        assert shell.run("cat <<'END'\n$WORD\nEND") == "$WORD\n"
        assert shell.run("pwd") == f"{tmp_path}\n"


def test_a_command_that_fails_is_shown_with_its_output(tmp_path: Path) -> None:
    with session(tmp_path, {}) as shell, pytest.raises(AssertionError, match=r"exit code 1\n.*no such file"):
        shell.run("cat 'no such file'")
