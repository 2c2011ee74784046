"""Writes an exchange as a line of the access log.

`JsonLines` writes the usual fields; it is the common case, and its cost is counted in nanoseconds. `ChosenLines` writes
the fields that an operator has chosen, one by one. Lines of both are equal where their fields are.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from json.encoder import encode_basestring_ascii as quoted
from typing import Final

from dataplane.observe.line_format import (
    REDACTED,
    SECRET_HEADERS,
    SECRET_PARAMETERS,
    Format,
    plain,
    redact_query,
)
from dataplane.observe.redaction import redact_path, redact_value
from dataplane.proxy.exchange import Exchange


class Lines:
    """Writes lines. The clock's offset must be set about once a second (`set_clock`)."""

    def __init__(self) -> None:
        self._millisecond = 0
        self._time = ""
        self._offset = time.time() - time.monotonic()

    def set_clock(self) -> None:
        """Follow the system's clock."""
        self._offset = time.time() - time.monotonic()

    def line(self, exchange: Exchange, route: str, service: str, seconds: float) -> str:
        """The exchange as one line, with its newline; it took `seconds`."""
        raise NotImplementedError

    def _at(self, ended: float) -> str:
        """A monotonic time in ISO 8601. Computed once for all requests of a millisecond."""
        millisecond = int((ended + self._offset) * 1000)
        if millisecond != self._millisecond:
            self._millisecond = millisecond
            self._time = _iso(millisecond)
        return self._time


class JsonLines(Lines):
    """Writes the usual fields as JSON."""

    def line(self, exchange: Exchange, route: str, service: str, seconds: float) -> str:
        """The exchange as one line of JSON.

        Names from the configuration, addresses, methods, hosts and request ids have no characters that JSON escapes;
        paths and subjects may. Queries are left out because they may hold secrets.
        """
        request, endpoint = exchange.request, exchange.endpoint
        method, host, path, trace = "", "", '""', ""
        reason = f',"reason":{quoted(exchange.reason)}' if exchange.reason else ""
        if exchange.shadowed:
            reason += f',"shadowed":"{" ".join(exchange.shadowed)}"'
        if request is not None:
            method, host = request.method, request.host
            sent = request.sent_path or request.path
            # Nearly every path is without parameters, and the call is one into plain Python.
            path = quoted(redact_path(sent, SECRET_PARAMETERS) if ";" in sent else sent)
            if request.provenance is not None and request.provenance.context is not None:
                trace = f',"trace_id":"{request.provenance.context.trace_id.decode("ascii")}"'
        plan, identity = exchange.plan, exchange.identity
        if plan is None:
            place = _place(route, service)
        else:
            if not plan.logged:
                plan.logged = _place(route, service)
            place = plan.logged
        if not identity.logged:
            identity.logged = quoted(identity.subject)
        return (
            f'{{"time":"{self._at(exchange.ended)}","request_id":"{exchange.request_id.decode("ascii")}"'
            f',"client":"{exchange.address}","method":"{method}","host":"{host}","path":{path}'
            f',"status":{exchange.status},"decision":"{exchange.decision}"{reason},"revision":{exchange.revision}'
            f'{place},"instance":"{endpoint.id if endpoint is not None else ""}"'
            f',"subject":{identity.logged}'
            f',"attempts":{exchange.attempts},"duration_us":{int(seconds * 1e6)}'
            f',"received":{exchange.received},"sent":{exchange.sent}{trace}}}\n'
        )


def _place(route: str, service: str) -> str:
    return f',"route":"{route}","service":"{service}"'


Value = str | int
Reader = Callable[["ChosenLines", Exchange], Value]


class ChosenLines(Lines):
    """Writes the fields of a format, as JSON or as a text."""

    def __init__(self, chosen: Format, redact: tuple[str, ...] = (), longest: int = 0) -> None:
        """`redact` names further headers and query parameters whose values are not shown. Values in JSON are cut after
        `longest` characters; 0: nowhere."""
        super().__init__()
        self._longest = longest
        also = frozenset(map(plain, redact))
        self.secret_headers = SECRET_HEADERS | also
        self.secret_parameters = SECRET_PARAMETERS | also
        self.route = self.service = ""
        self.microseconds = 0
        self._fields = [(name, f"{quoted(name)}:", _reader(name)) for name in chosen.fields]
        self._literals = chosen.literals
        self._second = 0
        self._clf = ""

    def line(self, exchange: Exchange, route: str, service: str, seconds: float) -> str:
        """The exchange as one line of the format."""
        self.route, self.service, self.microseconds = route, service, int(seconds * 1e6)
        return self._text(exchange) if self._literals else self._json(exchange)

    def shown(self, spelt: str, value: str) -> str:
        """The value of a field of this name, as `plain` writes it, without secrets."""
        return shown_header(spelt, value, self.secret_headers, self.secret_parameters)

    def time_of(self, exchange: Exchange) -> str:
        """The time at which it ended."""
        return self._at(exchange.ended)

    def clf_time_of(self, exchange: Exchange) -> str:
        """The same in the Common Log Format. Computed once for all requests of a second."""
        second = int(exchange.ended + self._offset)
        if second != self._second:
            self._second, self._clf = second, _clf(second)
        return self._clf

    def _json(self, exchange: Exchange) -> str:
        pieces = []
        for name, key, read in self._fields:
            value = read(self, exchange)
            if value == "" and name in _OPTIONAL:
                continue
            if self._longest and isinstance(value, str):
                value = cut(value, self._longest)
            pieces.append(f"{key}{quoted(value) if isinstance(value, str) else value}")
        return f"{{{','.join(pieces)}}}\n"

    def _text(self, exchange: Exchange) -> str:
        pieces = [self._literals[0]]
        for (_, _, read), literal in zip(self._fields, self._literals[1:], strict=True):
            value = read(self, exchange)
            pieces += (_escaped(value) if isinstance(value, str) else str(value), literal)
        return f"{''.join(pieces)}\n"


def cut(value: str, longest: int) -> str:
    """The value, with an ellipsis in place of what is more than so many characters."""
    return value if len(value) <= longest else f"{value[: longest - 1]}\u2026"


def _escaped(value: str) -> str:
    """The value as nginx writes it: quotes, backslashes and what is not visible ASCII as \\xHH, nothing as "-"."""
    if not value:
        return "-"
    if _PLAIN.fullmatch(value):
        return value
    return "".join(
        [chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\x{byte:02X}" for byte in _bytes(value)]
    )


_PLAIN: Final = re.compile(r"[ !#-\[\]-~]+")
_OPTIONAL: Final = frozenset({"reason", "shadowed", "trace_id"})
"""Fields that are left out of JSON without a value."""


def _bytes(value: str) -> bytes:
    return value.encode("utf-8", "surrogateescape")


def _reader(name: str) -> Reader:
    if name.startswith("header:"):
        return _header(name.removeprefix("header:"))
    return _READERS[name]


def _header(name: str) -> Reader:
    spelt = plain(name)

    def read(lines: ChosenLines, exchange: Exchange) -> Value:
        if exchange.request is None:
            return ""
        return lines.shown(spelt, exchange.request.field(name))

    return read


def shown_header(spelt: str, value: str, secret: frozenset[str], parameters: frozenset[str]) -> str:
    """The value of a field as it may be shown. `spelt` is its name, as `plain` writes it; of `secret` ones nothing, and
    of these `parameters` no value."""
    if value and spelt in secret:
        return REDACTED
    value = _decoded(value)
    return _without_query(value) if spelt in _ADDRESSES else redact_value(value, parameters)


_ADDRESSES: Final = frozenset(
    {"referer", "xenvoyoriginalpath", "xforwardeduri", "xoriginaluri", "xoriginalurl", "xrewriteurl"}
)
"""Fields, as `plain` writes them, whose value is a URL or a path; proxies in front add some."""


def _without_query(address: str) -> str:
    """A URL without its query, its fragment and its credentials, all of which may hold secrets."""
    return _CREDENTIALS.sub(r"\1", _QUERY.split(address, maxsplit=1)[0])


_QUERY: Final = re.compile(r"[?#]")
_CREDENTIALS: Final = re.compile(r"^((?:[A-Za-z][A-Za-z0-9+.-]*:)?/*)[^/]*@")


def _decoded(value: str) -> str:
    """A field's value, whose bytes are read as Latin-1, as UTF-8 if it is that."""
    if value.isascii():
        return value
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value


def _trace_id(exchange: Exchange) -> str:
    request = exchange.request
    if request is None or request.provenance is None or request.provenance.context is None:
        return ""
    return request.provenance.context.trace_id.decode("ascii")


def _path(lines: ChosenLines, exchange: Exchange) -> str:
    request = exchange.request
    return "" if request is None else redact_path(request.sent_path or request.path, lines.secret_parameters)


def _query(lines: ChosenLines, exchange: Exchange) -> str:
    request = exchange.request
    if request is None:
        return ""
    return redact_query(_decoded(request.query[1:].decode("latin-1")), lines.secret_parameters)


def _protocol(exchange: Exchange) -> str:
    request = exchange.request
    if request is None:
        return ""
    return "HTTP/1.1" if request.http11 else "HTTP/1.0"


_READERS: Final[Mapping[str, Reader]] = {
    "time": lambda lines, exchange: lines.time_of(exchange),
    "request_id": lambda _, exchange: exchange.request_id.decode("ascii"),
    "client": lambda _, exchange: exchange.address,
    "method": lambda _, exchange: "" if exchange.request is None else exchange.request.method,
    "host": lambda _, exchange: "" if exchange.request is None else exchange.request.host,
    "path": _path,
    "status": lambda _, exchange: exchange.status,
    "decision": lambda _, exchange: exchange.decision,
    "reason": lambda _, exchange: exchange.reason,
    "shadowed": lambda _, exchange: " ".join(exchange.shadowed),
    "revision": lambda _, exchange: exchange.revision,
    "route": lambda lines, _: lines.route,
    "service": lambda lines, _: lines.service,
    "instance": lambda _, exchange: "" if exchange.endpoint is None else exchange.endpoint.id,
    "subject": lambda _, exchange: exchange.identity.subject,
    "attempts": lambda _, exchange: exchange.attempts,
    "duration_us": lambda lines, _: lines.microseconds,
    "received": lambda _, exchange: exchange.received,
    "sent": lambda _, exchange: exchange.sent,
    "trace_id": lambda _, exchange: _trace_id(exchange),
    "time_clf": lambda lines, exchange: lines.clf_time_of(exchange),
    "query": _query,
    "scheme": lambda _, exchange: exchange.client.peer.scheme,
    "protocol": lambda _, exchange: _protocol(exchange),
    "user_agent": _header("user-agent"),
    "referer": _header("referer"),
}


def make_lines(chosen: Format | None, redact: tuple[str, ...] = ()) -> Lines:
    """What writes the lines of this format; None: of the usual one."""
    return JsonLines() if chosen is None else ChosenLines(chosen, redact)


_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
"""In every locale."""


def _clf(second: int) -> str:
    """A Unix time in the Common Log Format."""
    at = time.gmtime(second)
    clock = f"{at.tm_hour:02d}:{at.tm_min:02d}:{at.tm_sec:02d}"
    return f"{at.tm_mday:02d}/{_MONTHS[at.tm_mon - 1]}/{at.tm_year}:{clock} +0000"


def _iso(millisecond: int) -> str:
    """A Unix time in milliseconds, in ISO 8601."""
    second, rest = divmod(millisecond, 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(second))}.{rest:03d}Z"
