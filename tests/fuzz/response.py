"""Fuzzes what instances may say: `make fuzz`, or `python -m tests.fuzz.response tests/fuzz/corpus/response`."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["dataplane.proxy"]):
    from tests.fuzz.oracle import check_response

if __name__ == "__main__":
    atheris.Setup(sys.argv, check_response)
    atheris.Fuzz()
