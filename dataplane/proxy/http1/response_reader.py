"""Reading responses from an instance's bytes: one for each request sent, read as strictly as a request.

Parser callbacks only collect; `Upstream` acts on what they collected when the parser returns. An unsolicited response
stops the parser at its first byte.
"""

from __future__ import annotations

from collections.abc import Callable

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from dataplane.proxy.bounds import Bounds
from dataplane.proxy.http1.head_cache import LONGEST, HeadCache, LookupCredit
from dataplane.proxy.http1.names import RESPONSE_NAMES, field_sorter, taken_out, without
from dataplane.proxy.http1.response import (
    LENGTH,
    MalformedResponse,
    Response,
    cached_response,
    interim_head,
    read_response,
    to_cache,
)
from dataplane.proxy.http1.trailers import excessive, kept
from dataplane.proxy.http1.upgrade import Switch, read_switch


class ResponseReader:
    """The response side of one upstream connection."""

    __slots__ = (
        "_cache",
        "_cause",
        "_credit",
        "_expecting",
        "_look_up",
        "_parser",
        "_passing",
        "_special",
        "_start",
        "_to_head",
        "_withheld",
        "incomplete",
        "interim",
        "keep_alive",
        "on_body",
        "on_header",
        "pieces",
        "response",
        "switch",
    )

    def __init__(self, known: HeadCache[Response]) -> None:
        """`known` is the cache of parsed response heads."""
        self._cache = known
        self._credit = LookupCredit()
        self.response: Response | None = None
        """The final response's head, once it has come."""
        self.interim: list[tuple[int, bytes]] = []
        """Interim responses since they were last taken: status and head."""
        self.pieces: list[bytes] = []
        """Pieces of the body since they were last taken."""
        self.incomplete = False
        """The response has not been read completely."""
        self.switch: Switch | None = None
        """A 101, with the bytes after it in `pieces`; `Upstream` checks whether the client asked for it."""
        self.keep_alive = False
        """Whether the response lets the connection carry another exchange."""
        self._to_head = False
        self._look_up = True
        """The head may be taken from the cache, or put into it."""
        self._start = b""
        """The first bytes of the last read, if the message that is being read began with them; else empty."""
        self._parser: HttpResponseParser | None = None
        self._passing: list[bytes] = []
        self._special: list[tuple[bytes, bytes]] = []
        self._cause: MalformedResponse | None = None
        """The reason a head was refused. The parser's own error loses it where an exception is being handled further
        up."""
        self._expecting = False
        """A response may begin: final, or one more interim response."""
        self._withheld: frozenset[bytes] | None = None
        self.on_header = field_sorter(RESPONSE_NAMES, self._passing, self._special)
        self.on_body: Callable[[bytes], None] = self.pieces.append

    def expect(self, to_head: bool, withheld: frozenset[bytes] | None = None) -> None:
        """A request has been sent, with HEAD or another method: its response may come.

        `withheld`: fields of these names, lower case, are for the gateway, so heads must be read field by field.
        """
        self.response = None
        # Trailers of the previous response were collected like fields: drop them.
        self._passing.clear()
        if self._special:
            # The parser has read them, too, and obeys a "Connection: close" among them.
            self._special.clear()
            self._parser = None
        self._to_head = to_head
        self._withheld = withheld
        self._look_up = not (to_head or withheld is not None)
        self._expecting = self.incomplete = True
        if self._parser is None:
            self._parser = HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """Read on. Raises MalformedResponse, unless the response was complete before the malformed bytes."""
        new: bytes | None = None
        end = 0
        if self._expecting and self._look_up and self._credit.allows():
            end = data.find(b"\r\n\r\n", 0, LONGEST) + 4
            if end > 4:
                new = data[:end]
                known = self._cache.get(new)
                if known is not None and known.length == len(data) - end:
                    self._credit.hit()
                    self._serve_cached(known, data[end:])
                    return
            self._credit.miss()
        assert self._parser is not None
        self._start = data[:9] if self._expecting else b""
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade as pause:
            self.pieces.append(data[pause.args[0] :])
        except HttpParserError as error:
            self.keep_alive = False
            cause, self._cause = self._cause or error.__context__, None
            if self.incomplete or self.response is None:
                raise (
                    cause if isinstance(cause, MalformedResponse) else MalformedResponse(str(error))
                ) from None
        if self._to_head and self.pieces and self.response is not None:
            # A body that is not allowed: it ends here, and so does the connection.
            self.pieces.clear()
            self.keep_alive = False
        elif new is not None and self.keep_alive and not (self.incomplete or self.interim):
            self._cache_head(new, len(data) - end)

    def trailers(self, response: Response, bounds: Bounds) -> list[bytes]:
        """The trailers to forward, of a response that announced any. Raises MalformedResponse if they are too many."""
        if excessive(self._passing, self._special, bounds.fields, bounds.head):
            raise MalformedResponse("trailers too long")
        return kept(response.announced, self._passing, self._special)

    def withheld_trailers(self, names: frozenset[bytes]) -> list[tuple[bytes, bytes]]:
        """The trailers of these names, lower case, announced or not."""
        return taken_out(self._passing, names)

    def end(self) -> None:
        """The body ended without the parser."""
        self.incomplete = False

    def drop_parser(self) -> None:
        """Drop the parser: the next bytes are not for it, or the bytes that it expects will not arrive."""
        self._parser = None

    # --- parser callbacks

    def on_message_begin(self) -> None:
        if not self._expecting:
            raise MalformedResponse("an unsolicited response")
        self._expecting = False

    def on_message_complete(self) -> None:
        self.incomplete = False

    def on_headers_complete(self) -> None:
        parser = self._parser
        assert parser is not None
        try:
            self._read_head(parser)
        except MalformedResponse as bad:
            self._cause = bad
            raise
        self._passing.clear()
        self._special.clear()

    # --- inside

    def _read_head(self, parser: HttpResponseParser) -> None:
        status = parser.get_status_code()
        if status == 101:
            self.switch = self._read_switch(parser.get_http_version())
        elif 100 <= status < 200:
            passing, withheld = self._passing, self._withheld
            kept = passing if withheld is None else without(passing, withheld)
            self.interim.append((status, interim_head(status, kept, self._special)))
            self._expecting = True
            self._start = b""
        else:
            self.keep_alive = keep = parser.should_keep_alive()
            self.response = read_response(
                status, self._passing, self._special, self._to_head, keep, self._version
            )
            if self._to_head:
                # The parser waits for the body that the head announced.
                self.incomplete = False
                self._parser = None
            else:
                # An interim response may have ended before.
                self.incomplete = True

    def _version(self) -> str:
        """The parser makes a new string each time, which takes longer than most fields."""
        assert self._parser is not None
        return "1.1" if self._start == b"HTTP/1.1 " else self._parser.get_http_version()

    def _serve_cached(self, known: Response, body: bytes) -> None:
        """A complete response whose head is in the cache."""
        self._expecting = self.incomplete = False
        self.keep_alive = True
        self.response = cached_response(known)
        if body:
            self.pieces.append(body)

    def _cache_head(self, head: bytes, length: int) -> None:
        """Whether the whole response just read was `head` and a body of this length."""
        response, pieces = self.response, self.pieces
        if (
            response is not None
            and response.framing == LENGTH
            and response.length == length == sum(map(len, pieces))
            and self._cache.admit()
        ):
            self._cache.put(head, to_cache(response))

    def _read_switch(self, version: str) -> Switch:
        switch = read_switch(self._passing, self._special, self._withheld or frozenset())
        if switch is None or version != "1.1":
            raise MalformedResponse("101 that names no protocol")
        return switch
