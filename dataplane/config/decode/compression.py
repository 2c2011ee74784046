"""Decodes the compression of responses."""

from __future__ import annotations

import re
from typing import Final

from dataplane.config.decode.checker import Checker
from dataplane.gateway.policy.compression import Compression
from dataplane.proxy.content_coding import CODINGS
from headgate_api.v1 import resources_pb2 as pb

_CODING: Final = re.compile("|".join(CODINGS))
_MEDIA_TYPE: Final = re.compile(r"[a-z0-9!#$&^_.+-]{1,64}/([a-z0-9!#$&^_.+-]{1,64}|\*)")


def read_compression(body: pb.Compression, check: Checker) -> Compression:
    """The values; problems are recorded in `check`."""
    return Compression(
        check.each("compression.encodings", body.encodings, _CODING, "a coding that this version knows"),
        check.each("compression.media_types", body.media_types, _MEDIA_TYPE, "a media type"),
        body.min_bytes,
    )
