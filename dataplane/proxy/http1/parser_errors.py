"""Responses to requests that the parser refuses."""

from __future__ import annotations

import re
from typing import Final

from httptools import HttpParserError, HttpParserInvalidMethodError

_VERSION_ERRORS: Final = ("Invalid HTTP version", "Pause on PRI/Upgrade")
_REQUEST_LINE: Final = re.compile(rb"[\r\n]*[!#$%&'*+.^_`|~0-9A-Za-z-]+ [!-~]+ HTTP/[0-9]\.[0-9]\r")


def status_of(error: HttpParserError, data: bytes) -> int:
    """The status for a request that the parser refused in these bytes."""
    if isinstance(error, HttpParserInvalidMethodError) and _REQUEST_LINE.match(data):
        # A method that the parser does not know (RFC 9110 section 9.1).
        return 501
    return 505 if str(error) in _VERSION_ERRORS else 400
