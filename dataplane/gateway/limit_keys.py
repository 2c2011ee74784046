"""Keys under which requests count: one key function for each limit, prepared when a plan is made.

The key is the bare value: the address, subject or route, the hidden value of a field or claim. The key for a list of
parts is their values in order, separated by commas. At most one value may contain a comma, so no two combinations have
the same key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from dataplane.gateway.policy.authenticate import canonical
from dataplane.gateway.policy.bucket_keys import short
from dataplane.gateway.policy.permit import Caller
from dataplane.gateway.policy.resources import Limit, LimitKey
from dataplane.proxy.exchange import Exchange
from dataplane.proxy.fields.kinds import folded
from dataplane.proxy.trust import address_block

API_KEY_HEADER: Final = "x-api-key"
_BLOCK_BITS: Final = 64
_LONGEST_SUBJECT: Final = 128

Hide = Callable[[str], str]


class KeyMaker:
    """Makes the key of one limit for a request. When compiled, a call of it is a C call."""

    __slots__ = ("by_block",)

    def __init__(self) -> None:
        self.by_block = False
        """The key is `block`, and needs no call."""

    def key(self, exchange: Exchange, block: str, caller: Caller) -> str:
        """The key; `block` is the client's address as limits count it by default, without a caller ANONYMOUS."""
        raise NotImplementedError


class _Address(KeyMaker):
    __slots__ = ()

    def __init__(self) -> None:
        self.by_block = True

    def key(self, exchange: Exchange, block: str, caller: Caller) -> str:
        return block


class _WiderAddress(KeyMaker):
    """An IPv6 address by another prefix than the usual."""

    __slots__ = ("_bits",)

    def __init__(self, bits: int) -> None:
        super().__init__()
        self._bits = bits

    def key(self, exchange: Exchange, block: str, caller: Caller) -> str:
        return address_block(exchange.address, self._bits)


class _Subject(KeyMaker):
    """The address is the key if there is no caller: otherwise a limit by caller would limit nothing on a public
    route."""

    __slots__ = ()

    def key(self, exchange: Exchange, block: str, caller: Caller) -> str:
        subject = caller.subject
        if not subject:
            return block
        return subject if len(subject) <= _LONGEST_SUBJECT else short(subject)


class _Route(KeyMaker):
    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def key(self, exchange: Exchange, block: str, caller: Caller) -> str:
        return self._name


class _Header(KeyMaker):
    """Requests without the field, or with several fields of that name, share one key. Otherwise a caller could escape
    the limit by leaving the field out, or by sending a second, invented field.
    """

    __slots__ = ("_credentials", "_hide", "_name")

    def __init__(self, name: str, hide: Hide) -> None:
        super().__init__()
        self._name = folded(name.encode("latin-1"))
        self._hide = hide
        self._credentials = name == "authorization"

    def key(self, exchange: Exchange, block: str, caller: Caller) -> str:
        request = exchange.request
        assert request is not None
        value = request.single_field(self._name)
        return self._hide(canonical(value) if self._credentials else value)


class _Claim(KeyMaker):
    """Without the claim, or without a token, callers share one key."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def key(self, exchange: Exchange, block: str, caller: Caller) -> str:
        return caller.claims.get(self._name, "")


class _Several(KeyMaker):
    __slots__ = ("_makers",)

    def __init__(self, makers: list[KeyMaker]) -> None:
        super().__init__()
        self._makers = makers

    def key(self, exchange: Exchange, block: str, caller: Caller) -> str:
        return ",".join([maker.key(exchange, block, caller) for maker in self._makers])


def key_maker(limit: Limit, route: str, hide: Hide) -> KeyMaker:
    """The key-maker of a limit on a route; `hide` replaces values that may be credentials."""
    makers = [_single(part, limit, route, hide) for part in limit.key]
    return makers[0] if len(makers) == 1 else _Several(makers)


def needs_caller(limit: Limit) -> bool:
    """Whether the limit can be taken only once the caller is known."""
    return any(part == "subject" or part.startswith(LimitKey.OF_CLAIM) for part in limit.key)


def claims_of(limits: Iterable[Limit]) -> frozenset[str]:
    """The claims that limits count by."""
    start = len(LimitKey.OF_CLAIM)
    return frozenset(
        part[start:] for limit in limits for part in limit.key if part.startswith(LimitKey.OF_CLAIM)
    )


def _single(part: str, limit: Limit, route: str, hide: Hide) -> KeyMaker:
    if part == "address":
        return _Address() if limit.address_prefix == _BLOCK_BITS else _WiderAddress(limit.address_prefix)
    if part == "subject":
        return _Subject()
    if part == "route":
        return _Route(route)
    if part == "api_key":
        return _Header(API_KEY_HEADER, hide)
    if part.startswith(LimitKey.OF_CLAIM):
        return _Claim(part[len(LimitKey.OF_CLAIM) :])
    return _Header(limit.header if part == "header" else part[len(LimitKey.OF_HEADER) :], hide)
