"""Steps and their times."""

from __future__ import annotations

import pytest

from tests.support.kubernetes.steps import Steps


def test_tells_each_step_and_its_time(capsys: pytest.CaptureFixture[str]) -> None:
    times = iter([1.0, 3.5])
    steps = Steps(clock=lambda: next(times))
    with steps.step("start"):
        pass
    assert capsys.readouterr().out == "… start\n  start took 2.5 s\n"
    assert steps.table() == "     2.5 s  start"


def test_tells_that_a_step_failed(capsys: pytest.CaptureFixture[str]) -> None:
    times = iter([0.0, 1.0])
    steps = Steps(clock=lambda: next(times))
    with pytest.raises(ValueError, match="broken"), steps.step("start"):
        raise ValueError("broken")
    assert "start failed after 1.0 s" in capsys.readouterr().out
