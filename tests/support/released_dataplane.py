"""`python -m tests.support.released_dataplane`: a data plane with the wire format of the last release.

Its messages are encoded and decoded with the release's descriptors, so that every later field and message is unknown to
it, as it was to the release: it names no capability, gets no deltas and does not see `Service.tls`.
"""

from __future__ import annotations

import sys
from typing import Any

from dataplane.__main__ import main
from dataplane.config.stream import wire
from dataplane.config.stream.config_stream import ConfigStream
from headgate_api.v1 import config_pb2 as pb
from tests.support.skew import released


def forget() -> None:
    """Use the wire format of the release in this process."""
    hello, take = wire.hello, ConfigStream._take

    def released_hello(*arguments: Any) -> pb.StreamRequest:
        return released(hello(*arguments))

    def released_take(self: ConfigStream, response: pb.StreamResponse) -> None:
        take(self, released(response))

    wire.hello = released_hello  # type: ignore[assignment]
    ConfigStream._take = released_take  # type: ignore[method-assign]


if __name__ == "__main__":
    forget()
    sys.exit(main())
