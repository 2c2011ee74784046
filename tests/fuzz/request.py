"""Fuzzes what clients may say: `make fuzz`, or `python -m tests.fuzz.request tests/fuzz/corpus/request`."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["dataplane.proxy"]):
    from tests.fuzz.oracle import check_request

if __name__ == "__main__":
    atheris.Setup(sys.argv, check_request)
    atheris.Fuzz()
