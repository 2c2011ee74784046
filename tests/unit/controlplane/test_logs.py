"""One JSON object a line."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from controlplane import logs


@pytest.fixture(autouse=True)
def _loggers_as_they_were() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    logging.getLogger("uvicorn.access").disabled = False


def written(capfd: pytest.CaptureFixture[str]) -> str:
    """What has been logged since the last call."""
    for handler in logging.getLogger().handlers:
        handler.flush()
    return capfd.readouterr().err


def test_a_line_is_one_json_object(capfd: pytest.CaptureFixture[str]) -> None:
    logs.set_up()
    logging.getLogger("a.b").info("saved %s", "x\ny", extra={"revision": 7, "what": {1}})
    (line,) = written(capfd).splitlines()
    told = json.loads(line)
    assert told.pop("time").endswith("+00:00")
    assert told == {
        "level": "info",
        "logger": "a.b",
        "message": "saved x\ny",
        "revision": 7,
        "what": "{1}",
    }


def test_an_exception_stays_on_the_line(capfd: pytest.CaptureFixture[str]) -> None:
    logs.set_up()
    try:
        raise ValueError("why")
    except ValueError:
        logging.getLogger("a").exception("failed")
    (line,) = written(capfd).splitlines()
    assert "ValueError: why" in json.loads(line)["exception"]


def test_levels(capfd: pytest.CaptureFixture[str]) -> None:
    logs.set_up("warning")
    logging.getLogger("a").info("quiet")
    logging.getLogger("a").warning("loud")
    assert [json.loads(line)["message"] for line in written(capfd).splitlines()] == ["loud"]


def test_uvicorns_own_handlers_are_replaced(capfd: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("uvicorn.error")
    logger.addHandler(logging.StreamHandler())
    logger.propagate = False
    logs.set_up()
    logger.info("Started server process")
    logger.error("bad")
    logging.getLogger("uvicorn.access").error("GET /")
    assert [json.loads(line)["message"] for line in written(capfd).splitlines()] == ["bad"]
    logs.set_up("debug")
    logger.info("Started server process")
    assert "Started server process" in written(capfd)


def test_a_second_set_up_replaces_the_first(capfd: pytest.CaptureFixture[str]) -> None:
    logs.set_up()
    logs.set_up()
    logging.getLogger("a").info("once")
    assert len(written(capfd).splitlines()) == 1
