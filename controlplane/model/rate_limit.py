"""Rate limits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from controlplane.model.base import IGNORABLE, Added, Narrows, Resource
from controlplane.model.fields import ENFORCE, HeaderName, Name
from controlplane.model.limit_key import FIRST_KEYS, KEY_WORDS, MOST_PARTS, KeyPart, read_key
from controlplane.model.problems import Problem
from controlplane.model.words import count

_FRAMING = frozenset(
    {
        *("connection", "content-length", "date", "keep-alive", "proxy-authenticate", "te", "trailer"),
        *("transfer-encoding", "upgrade", "x-request-id"),
    }
)
"""Response fields that the gateway writes itself: none can report a cost."""
_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}
_MANY_WORKERS: Final = 16
"""A limit of the fleet that suffices for fewer workers gets a warning."""
FLEET_LIMITS: Final = "limits.fleet"
"""Capability of data planes that lease the tokens of limits of the fleet."""
REDIS_LIMITS: Final = "limits.redis"
"""Capability of data planes that count limits in Redis."""


def _cost_header(name: str) -> str:
    if name in _FRAMING:
        raise PydanticCustomError("header", "must not be a field that the gateway itself writes")
    return name


class RateLimit(Resource):
    """How many requests a key may send: a token bucket, a bound of the requests under way, or both."""

    KIND: ClassVar[str] = "rate_limit"
    PLURAL: ClassVar[str] = "rate_limits"
    EXAMPLE: ClassVar[Mapping[str, Any]] = {
        "name": "callers",
        "per_second": 5.0,
        "burst": 10,
        "key": "subject",
    }
    SENT_AS: ClassVar[Mapping[str, str]] = {
        "per_second": "rate",
        "burst": "tokens",
        "key": "key_word",
    }
    # A data plane that ignores any of these admits more requests, or refuses requests that should only be counted.
    ADDED: ClassVar[Mapping[str, Added]] = {
        "key": Narrows("limits.full", when=lambda key: key not in FIRST_KEYS),
        "keys": IGNORABLE,  # says the same as `key`
        "address_prefix": Narrows("limits.full", when=lambda bits: bits != 64),
        "cost": Narrows("limits.full", when=lambda cost: cost != 1),
        "cost_header": Narrows("limits.full"),
        "max_concurrent": Narrows("limits.full"),
        "enforce": Narrows("limits.full", when=lambda enforce: enforce != "on"),
        "advertise": IGNORABLE,
        "mode": (
            Narrows(FLEET_LIMITS, when=lambda mode: mode == "fleet"),
            Narrows(REDIS_LIMITS, when=lambda mode: mode == "redis"),
        ),
        "without_owner": IGNORABLE,  # means nothing in other modes than fleet
        "on_store_failure": IGNORABLE,  # means nothing in other modes than redis
    }

    name: Name
    per_second: Annotated[
        float | None,
        Field(ge=0.001, le=1_000_000, description="Tokens that flow back into a bucket per second."),
    ] = None
    burst: Annotated[
        int | None,
        Field(
            ge=1,
            le=1_000_000,
            description="Size of a bucket: tokens that may be taken at once. Default: `requests`.",
        ),
    ] = None
    requests: Annotated[
        int | None,
        Field(
            ge=1,
            le=1_000_000,
            description="The rate in the other form: tokens that flow back in the time `per`.",
        ),
    ] = None
    per: Annotated[
        Literal["second", "minute", "hour", "day"] | None,
        Field(description="The time for `requests`."),
    ] = None
    key: Annotated[
        KeyPart | Annotated[tuple[KeyPart, ...], Field(min_length=1, max_length=MOST_PARTS)],
        BeforeValidator(read_key),
        Field(
            description="The value that identifies a bucket; a list makes one bucket for each combination. address, "
            "subject, api_key (the request's X-API-Key), route, header, header:NAME or claim:NAME."
        ),
    ] = "address"
    header: Annotated[HeaderName | None, Field(description="Name of the header, when `key` is header.")] = (
        None
    )
    address_prefix: Annotated[
        int, Field(ge=1, le=128, description="Leading bits by which an IPv6 address counts.")
    ] = 64
    cost: Annotated[int, Field(ge=1, le=1_000_000, description="Tokens that a request takes.")] = 1
    cost_header: Annotated[
        HeaderName | None,
        AfterValidator(lambda name: None if name is None else _cost_header(name)),
        Field(
            description="Response field in which the service reports the tokens that the request has cost; "
            "clients do not get it. `cost` is taken before the request, the difference afterwards: the "
            "bucket may go below zero."
        ),
    ] = None
    max_concurrent: Annotated[
        int | None,
        Field(
            ge=1,
            le=1_000_000,
            description="Requests of one key that may be under way at once, each until its response has ended.",
        ),
    ] = None
    enforce: Annotated[
        str,
        Field(
            pattern=ENFORCE,
            description="on; shadow: requests over the limit are counted and marked, but not refused; 25%: "
            "on for that share of keys.",
        ),
    ] = "on"
    mode: Annotated[
        Literal["local", "fleet", "redis"],
        Field(
            description="The place that counts. local: each data plane has its own buckets; fleet: all data planes "
            "share them; redis: all share a Redis."
        ),
    ] = "local"
    without_owner: Annotated[
        Literal["strict", "share", "open"],
        Field(
            description="Requests that a data plane admits under a limit of mode fleet while no control plane answers: "
            "none, its share, or all."
        ),
    ] = "share"
    on_store_failure: Annotated[
        Literal["open", "closed", "local"],
        Field(
            description="The policy of mode redis while Redis does not answer: requests pass (open), are refused with "
            "503 (closed), or are counted in each data plane (local)."
        ),
    ] = "open"
    advertise: Annotated[
        bool, Field(description="Send RateLimit and RateLimit-Policy on responses to admitted requests, too.")
    ] = False

    @property
    def rate(self) -> float:
        """Tokens that flow back per second, in whichever form it was written; 0: the limit has no bucket."""
        if self.requests is not None and self.per is not None:
            return self.requests / _SECONDS[self.per]
        return self.per_second or 0.0

    @property
    def tokens(self) -> int:
        """Size of a bucket; 0: the limit has none."""
        return self.burst or self.requests or 0

    @property
    def keys(self) -> tuple[str, ...]:
        """The parts of the key."""
        return (self.key,) if isinstance(self.key, str) else self.key

    @property
    def key_word(self) -> str:
        """The key for data planes that support only keys of one part; unspecified for other keys."""
        return self.key if isinstance(self.key, str) and self.key in KEY_WORDS else "unspecified"

    def warnings(self) -> Iterable[Problem]:
        """Combinations that do less than they seem to."""
        if self.cost > 1 and self.tokens and self.tokens < 2 * self.cost:
            yield Problem(
                "cost",
                f"a bucket of {self.tokens} holds one request of {self.cost}: a second request always has to wait",
            )
        if self.cost_header and self.cost == 1 and self.max_concurrent is None:
            yield Problem(
                "cost_header",
                "is known after the response only: requests under way can overdraw the bucket by any amount; a cost "
                "near the usual one, or max_concurrent, bounds that",
            )
        if self.address_prefix != 64 and "address" not in self.keys:
            yield Problem("address_prefix", "has no meaning unless key has address")
        if self.address_prefix > 64 and "address" in self.keys:
            yield Problem(
                "address_prefix", "one host usually has a whole /64, so it can use any number of buckets"
            )
        if self.mode == "fleet":
            yield from _fleet_warnings(self)
        elif self.without_owner != "share":
            yield Problem("without_owner", "has no meaning unless mode is fleet")
        if self.on_store_failure != "open" and self.mode != "redis":
            yield Problem("on_store_failure", "has no meaning unless mode is redis")
        if self.mode == "redis" and self.max_concurrent is not None:
            yield Problem(
                "max_concurrent", "bounds the requests under way in each data plane, whatever the mode"
            )
        if self.enforce in ("shadow", "0%") and self.advertise:
            yield Problem("advertise", "announces a limit that refuses nothing")

    @property
    def counts_by(self) -> str:
        """The full identity of a bucket, as workers name it (`LimitAsk.counts_by`)."""
        full = {
            "header": f"header:{(self.header or '').lower()}",
            "address": f"address/{self.address_prefix}",
        }
        return ",".join(full.get(part, part) for part in self.keys)

    @classmethod
    def prepare(cls, fields: Mapping[str, object]) -> Mapping[str, object]:
        """YAML 1.1 reads the bare words `on` and `off` as true and false. A number gets the sentence that names the
        possible values, as any other word does."""
        enforce = fields.get("enforce")
        if isinstance(enforce, bool):
            return {**fields, "enforce": "on" if enforce else "off"}
        return {**fields, "enforce": str(enforce)} if isinstance(enforce, int | float) else fields

    @classmethod
    def rules(cls, fields: Mapping[str, object]) -> Iterable[Problem]:
        """One rate in one form, or none with max_concurrent; `header` exactly when the key is header."""
        yield from _header_rules(fields)
        yield from _rate_rules(fields)


def _fleet_warnings(limit: RateLimit) -> Iterable[Problem]:
    requests = limit.tokens // limit.cost
    # Half of the burst is divided among the workers and one more (headgate_api.leases).
    workers = requests // 2 - 1
    if limit.rate and workers < _MANY_WORKERS:
        first = "the first request of a caller may be refused with Retry-After of one second, as its worker has to ask"
        size = f"is {count(requests, 'request')} for the whole fleet"
        if workers > 0:
            enough = f"enough for {count(workers, 'worker')} of all data planes together: with more of them, {first}"
            yield Problem("burst", f"{size}, {enough}")
        else:
            yield Problem(
                "burst",
                f"{size}, too few to divide among workers: {first}; a burst of 6 is enough for two workers",
            )
    if limit.max_concurrent is not None:
        yield Problem("max_concurrent", "bounds the requests under way in each data plane, whatever the mode")
    if limit.without_owner == "open":
        yield Problem("without_owner", "open admits every request while no control plane answers")


def _header_rules(fields: Mapping[str, object]) -> Iterable[Problem]:
    key, header = fields.get("key"), fields.get("header")
    by_header = key == "header" or (isinstance(key, list | tuple) and "header" in key)
    if by_header and header is None:
        yield Problem("header", "is required when key is header")
    if header is not None and not by_header:
        yield Problem("header", "has no meaning unless key is header")


def _rate_rules(fields: Mapping[str, object]) -> Iterable[Problem]:
    def given(name: str) -> bool:
        return fields.get(name) is not None

    if given("per_second"):
        for name in ("requests", "per"):
            if given(name):
                yield Problem(name, "must not be given together with per_second")
        if not given("burst"):
            yield Problem("burst", "is required")
    elif given("requests") or given("per"):
        for name, other in (("requests", "per"), ("per", "requests")):
            if not given(name):
                yield Problem(name, f"is required together with {other}")
    elif not given("max_concurrent"):
        yield Problem("per_second", "is required, or requests and per, or max_concurrent")
        if not given("burst"):
            yield Problem("burst", "is required")
    else:
        for name in ("burst", "cost", "cost_header"):
            if given(name) and (name, fields[name]) != ("cost", 1):
                yield Problem(name, "has no meaning without a rate (per_second, or requests and per)")
        if (mode := fields.get("mode")) in ("fleet", "redis"):
            yield Problem(
                "mode", f"{mode} needs a rate, because requests under way are counted in each data plane"
            )
        return
    yield from _cost_rules(fields)


def _cost_rules(fields: Mapping[str, object]) -> Iterable[Problem]:
    burst, cost = fields.get("burst") or fields.get("requests"), fields.get("cost")
    if isinstance(burst, int) and isinstance(cost, int) and cost > burst:
        yield Problem("cost", f"must be at most the burst of {burst}, because no bucket ever holds more")
