"""Taps: operators watch the next requests that match. Nothing of this is on the request path while nobody does.

While there is a tap, a `TappedRecorder` stands in front of the usual recorder. It shows some of the requests of each
second, without secret values, and counts the others.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from dataplane.observe.line_format import REDACTED, Format, plain
from dataplane.observe.lines import ChosenLines, cut
from dataplane.observe.log_fields import CHOSEN, REQUEST
from dataplane.proxy.exchange import Exchange
from dataplane.proxy.messages import Request

MOST_PER_SECOND: Final = 20
"""Requests that one tap shows of one second of one worker."""
MOST_HEADERS: Final = 64
LONGEST_VALUE: Final = 256
"""Characters of a header's value that are shown."""
LONGEST_FIELD: Final = 2048
"""Characters of any other value, such as the path."""
_SECRET: Final = re.compile(
    "apikey|assertion|auth|cookie|credential|dpop|jwt|key$|passw|secret|session|signature|subprotocol|token"
)
"""Parts of names, as `plain` writes them, of fields that are not shown. A tap shows fields that nobody has chosen, so
it goes by likeness, and rather hides too much."""
_SCHEME: Final = re.compile(r"\s*(?:basic|bearer|digest|dpop|negotiate)\s", re.IGNORECASE)
"""Credentials in a field of any name."""


class Behind(Protocol):
    """The usual recorder."""

    def finished(self, exchange: Exchange) -> None:
        """Count and log an exchange that ended."""


@dataclass(frozen=True, slots=True)
class Filter:
    """The requests that a tap shows."""

    route: str = ""
    """Empty: of any."""
    service: str = ""
    least_status: int = 0
    most_status: int = 0
    """0: any."""

    def takes(self, exchange: Exchange, route: str, service: str) -> bool:
        """Whether the exchange, which has ended, matches."""
        return (
            (not self.route or route == self.route)
            and (not self.service or service == self.service)
            and (not self.most_status or self.least_status <= exchange.status <= self.most_status)
        )


class Tap:
    """One tap in this worker."""

    def __init__(self, wanted: Filter, count: int, until: float) -> None:
        """It shows up to `count` requests that end before `until`, monotonic seconds."""
        self.wanted = wanted
        self.until = until
        self._left = count
        self._second = 0
        self._in_second = 0
        self._shown: list[str] = []
        self._skipped = 0

    def ended(self, now: float) -> bool:
        """Whether it shows no more."""
        return self._left <= 0 or now >= self.until

    def may_show(self, now: float) -> bool:
        """Whether one more request is shown; if not, it is counted."""
        if int(now) != self._second:
            self._second, self._in_second = int(now), 0
        if self.ended(now) or self._in_second >= MOST_PER_SECOND:
            self._skipped += 1
            return False
        self._in_second += 1
        self._left -= 1
        return True

    def show(self, line: str) -> None:
        """Add a request."""
        self._shown.append(line)

    def take(self) -> tuple[list[str], int]:
        """The requests since the last call, and the number of those that are not shown."""
        shown, skipped = self._shown, self._skipped
        self._shown, self._skipped = [], 0
        return shown, skipped


class TappedRecorder:
    """Shows exchanges to taps, after the recorder behind it has counted them."""

    def __init__(self, behind: Behind, redact: tuple[str, ...]) -> None:
        """`redact` names headers and query parameters, besides the usual ones, whose values are not shown."""
        self.taps: dict[str, Tap] = {}
        self._behind = behind
        self._lines = ChosenLines(Format((*REQUEST, *CHOSEN)), redact, LONGEST_FIELD)

    def finished(self, exchange: Exchange) -> None:
        """Called with every exchange that ended."""
        self._behind.finished(exchange)
        plan, line = exchange.plan, ""
        route, service = (plan.route_name, plan.service_name) if plan is not None else ("", "")
        for tap in self.taps.values():
            if tap.wanted.takes(exchange, route, service) and tap.may_show(exchange.ended):
                line = line or self._line(exchange, route, service)
                tap.show(line)

    def set_clock(self) -> None:
        """Follow the system's clock; call it about once a second."""
        self._lines.set_clock()

    def _line(self, exchange: Exchange, route: str, service: str) -> str:
        seconds = exchange.ended - (exchange.started or exchange.ended)
        line = self._lines.line(exchange, route, service, seconds)
        headers = {} if exchange.request is None else self._headers(exchange.request)
        return f'{line.rstrip()[:-1]},"headers":{json.dumps(headers, separators=(",", ":"))}}}'

    def _headers(self, request: Request) -> Mapping[str, str]:
        shown = dict[str, str]()
        for name, value in _fields(request):
            if len(shown) >= MOST_HEADERS:
                break
            spelt = plain(name)
            hidden = _SECRET.search(spelt) or _SCHEME.match(value)
            text = REDACTED if hidden else self._lines.shown(spelt, value)
            shown[cut(name, LONGEST_VALUE)] = cut(
                f"{shown[name]}, {text}" if name in shown else text, LONGEST_VALUE
            )
        return shown


def _fields(request: Request) -> Iterator[tuple[str, str]]:
    """Names, lower case, and values of the request's fields, as they were received."""
    own = {name.lower() for name, _ in request.own_fields}
    for name, value in request.own_fields:
        yield name.lower().decode("latin-1"), value.decode("latin-1")
    fields = request.fields
    for begin, value in zip(fields[::2], fields[1::2], strict=True):
        name = begin[2:-2].lower()
        if name not in own:
            yield name.decode("latin-1"), value.decode("latin-1")
