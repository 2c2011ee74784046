"""Every record is one line of JSON on stderr."""

from __future__ import annotations

import json
import logging

from dataplane.observe.logs import JsonFormatter


def record(message: str, *arguments: object, **extra: object) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": "dataplane.x", "levelno": 30, "levelname": "WARNING"})
    made.msg, made.args = message, arguments
    made.__dict__.update(extra)
    return made


def test_a_record_is_one_line_of_json() -> None:
    line = JsonFormatter(node="node-1").format(record("went %s", "wrong\nbadly", revision=41))
    assert "\n" not in line
    found = json.loads(line)
    assert found.pop("time").endswith("+00:00")
    assert found == {
        "level": "warning",
        "logger": "dataplane.x",
        "node": "node-1",
        "message": "went wrong\nbadly",
        "revision": 41,
    }


def test_exceptions_and_what_json_cannot_say() -> None:
    made = record("x", what=object)
    try:
        raise ValueError("inside")
    except ValueError as error:
        made.exc_info = (type(error), error, error.__traceback__)
    found = json.loads(JsonFormatter().format(made))
    assert "ValueError: inside" in found["exception"]
    assert found["what"] == "<class 'object'>"
