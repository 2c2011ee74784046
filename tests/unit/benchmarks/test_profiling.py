"""Stacks of py-spy, told apart by whose work they are."""

from __future__ import annotations

from tests.benchmarks.profiling import functions, pieces

OUTER = "main (dataplane/worker/worker.py:231);run_forever (loop.c:33192)"
LINES = [
    f"{OUTER};uv__read (stream.c:1154);read (libc.so.6) 7",
    f"{OUTER};Upstream.send (dataplane/proxy/upstream.py:86);malloc (libc.so.6) 3",
    f"{OUTER};Upstream.send (dataplane/proxy/upstream.py:90);UVStream_write (loop.c:9);write (libc.so.6) 5",
    f"{OUTER};feed (dataplane/proxy/http1/request_reader.py:5);feed_data (parser.c:9);Py_DECREF (object.h:502) 2",
    "Thread.run (threading.py:982);AccessLog._run (dataplane/observe/access.py:70);0x7f60 (libc.so.6) 99",
    "nonsense 1",
]


def test_samples_by_piece() -> None:
    expected = {"system calls": 12, "dataplane/proxy/upstream.py": 3, "httptools": 2, "other": 1}
    assert pieces(LINES) == expected


def test_samples_by_function_include_what_it_calls() -> None:
    expected = {
        "worker/worker.py main": 7,
        "proxy/upstream.py Upstream.send": 8,
        "proxy/http1/request_reader.py feed": 2,
    }
    assert functions(LINES) == expected
