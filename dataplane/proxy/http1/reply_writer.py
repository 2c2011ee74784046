"""Writing the gateway's own responses; parts that do not change are written once."""

from __future__ import annotations

from dataplane.proxy.http1.response import persistence, status_line
from dataplane.proxy.reply import Reply


def whole_reply(
    reply: Reply, date: bytes, request_id: bytes, http11: bool, keep_alive: bool, bodiless: bool
) -> bytes:
    """The whole response; `bodiless`: without its body, because it answers HEAD. `date` is a whole Date field."""
    head = reply.rendered
    if not head:
        fields = "".join(f"\r\n{name}: {value}" for name, value in reply.fields)
        head = reply.rendered = status_line(reply.status) + fields.encode("latin-1")
    tail = b"\r\n\r\n" if http11 and keep_alive else persistence(keep_alive)
    body = b"" if bodiless else reply.body
    return b"".join((head, date, b"\r\nx-request-id: ", request_id, tail, body))
