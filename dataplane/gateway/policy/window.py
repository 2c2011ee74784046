"""A limit in Redis: the form of its window, the names of its keys, and the commands that count there.

Pure: makes bytes of the Redis protocol (RESP 2, redis.io/docs/reference/protocol-spec) and sends nothing.
"""

from __future__ import annotations

import math
from typing import Final

from dataplane.gateway.policy.resources import Limit
from dataplane.gateway.policy.window_scripts import (
    CHARGE_SLOTS,
    GIVE_BACK_SLOTS,
    RESET,
    SLOTS,
    TAKE_MEMBERS,
    TAKE_SLOTS,
    digest,
)

MOST_MEMBERS: Final = 2_000
"""Tokens of a window that are counted exactly, a member of a sorted set for each."""
_TAKE_MEMBERS: Final = digest(TAKE_MEMBERS)
_TAKE_SLOTS: Final = digest(TAKE_SLOTS)
_CHARGE_SLOTS: Final = digest(CHARGE_SLOTS)
_RESET: Final = digest(RESET)
_LONGEST: Final = 1e9
"""Seconds of a window, so that Redis can still compute its end."""
_RESET_KEPT: Final = 300
"""Seconds, more than an order stays in the table."""
_GIVE_BACK_SLOTS: Final = digest(GIVE_BACK_SLOTS)


def command(*words: bytes) -> bytes:
    """A command as it is sent."""
    return b"*%d\r\n%b" % (len(words), b"".join([_word(word) for word in words]))


def _word(word: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(word), word)


class Naming:
    """The naming of keys in this Redis."""

    __slots__ = ("_end", "_start")

    def __init__(self, prefix: str = "", *, cluster: bool = False) -> None:
        """`prefix` is put before every name. In a Cluster the part that determines the slot is in braces."""
        self._start = f"{prefix}rate_limit:{{" if cluster else f"{prefix}rate_limit:"
        self._end = "}" if cluster else ""

    def name(self, limit: str, key: str) -> bytes:
        """The key in Redis of a limit's key."""
        return f"{self._start}{limit}:{key}{self._end}".encode("utf-8", "surrogatepass")


class Window:
    """One limit's sliding window: at most `burst` tokens in any `burst / per_second` seconds."""

    __slots__ = ("_back", "_charge", "_head", "_limit", "_naming", "_tail", "by_members", "seconds")

    def __init__(self, limit: Limit, naming: Naming) -> None:
        self._limit = limit.name
        self._naming = naming
        self.seconds = limit.burst / limit.per_second
        self.by_members = limit.burst <= MOST_MEMBERS and not limit.cost_header
        """A member for each token; else tokens by slots, each for up to a hundredth of the window longer."""
        width = math.ceil(min(self.seconds, _LONGEST) * 1e6)
        burst = _word(b"%d" % limit.burst)
        if self.by_members:
            self._head = _script(8, _TAKE_MEMBERS)
            self._tail = _word(b"%d" % width) + burst + _word(b"%d" % limit.cost)
            self._back = self._charge = b""
            return
        size = _word(b"%d" % max(1, math.ceil(width / SLOTS)))
        self._head = _script(7, _TAKE_SLOTS)
        self._tail = size + burst + _word(b"%d" % limit.cost)
        self._charge = size + burst
        self._back = size + burst

    def name(self, key: str) -> bytes:
        """The key in Redis of a limit's key."""
        return self._naming.name(self._limit, key)

    def take(self, name: bytes, identity: bytes) -> bytes:
        """Take the limit's `cost`. `identity` is unique to this request."""
        if self.by_members:
            return b"%b$%d\r\n%b\r\n%b$%d\r\n%b\r\n" % (
                self._head,
                len(name),
                name,
                self._tail,
                len(identity),
                identity,
            )
        return b"%b$%d\r\n%b\r\n%b" % (self._head, len(name), name, self._tail)

    def give_back(self, name: bytes, identity: bytes, cost: int, tokens: int, slot: int) -> bytes:
        """Return `tokens` of a take of `cost` tokens; in the exact form, all its members."""
        if self.by_members:
            members = [identity] if cost == 1 else [b"%b:%d" % (identity, n) for n in range(1, cost + 1)]
            return command(b"ZREM", name, *members)
        end = self._back + _word(b"%d" % tokens) + _word(b"%d" % slot)
        return _script(8, _GIVE_BACK_SLOTS) + _word(name) + end

    def charge(self, name: bytes, tokens: int) -> bytes:
        """Take tokens in addition to the cost, below zero if necessary. Only of limits that are counted by slots."""
        assert not self.by_members
        return _script(7, _CHARGE_SLOTS) + _word(name) + self._charge + _word(b"%d" % tokens)


def reset(name: bytes, order: int) -> bytes:
    """Forget the tokens taken by a key; only the first sender of an order has an effect."""
    mark = b"%b:reset:%d" % (name, order)
    return command(b"EVALSHA", _RESET, b"2", name, mark, b"%d" % _RESET_KEPT)


def _script(words: int, called: bytes) -> bytes:
    """The start of a command that runs a script for one key: EVALSHA, the script, and the number of keys."""
    return b"*%d\r\n%b%b%b" % (words, _word(b"EVALSHA"), _word(called), _word(b"1"))


class Answer:
    """The answer to a take. Seconds and tokens."""

    __slots__ = ("full_in", "remaining", "slot", "wait")

    def __init__(self, reply: object) -> None:
        """TypeError or ValueError for anything but the four numbers that the scripts answer."""
        if not isinstance(reply, list):
            raise TypeError("not a list")
        wait, remaining, full_in, slot = reply
        self.wait = int(wait) / 1e6
        """0.0: taken."""
        self.remaining = int(remaining)
        self.full_in = int(full_in) / 1e6
        self.slot = int(slot)
