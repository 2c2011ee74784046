"""The same names without asyncio: thin wrappers around one event loop in a background thread.

    with headgate.sync.register(ServiceDefinition("orders"), port=9001): ...
    with headgate.sync.connect() as gateway: print(gateway.registry.get_services())

gRPC requires a single event loop in each process, so do not mix these with the asynchronous names in one process. It
does not survive a fork either, so register in the workers of a pre-forking server (`headgate.wsgi.gunicorn` does).
Workers that share host and port hold one instance together.
"""

from __future__ import annotations

import functools
import signal
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from types import FrameType, TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from headgate import circuits, client, registration
from headgate.barrier import Wait
from headgate.errors import HeadgateError
from headgate.loop_thread import loop_thread
from headgate.models import (
    CircuitConfig,
    CircuitReport,
    CircuitState,
    CircuitStats,
    Instance,
    LimitReset,
    RateLimit,
    RegistrationRequest,
    Route,
    Service,
)

T = TypeVar("T")
P = ParamSpec("P")


class _Inside:
    """The loop held, and an asynchronous context manager entered in it."""

    def __init__(self, inner: AbstractAsyncContextManager[Any]) -> None:
        self._inner = inner
        self._held = False

    def enter(self) -> None:
        """Enter; after an interruption nothing stays entered."""
        try:
            loop_thread.__enter__()
            self._held = True
            loop_thread.run(self._inner.__aenter__())
        except BaseException:
            self.leave()
            raise

    def leave(self) -> None:
        """Leave; does nothing outside."""
        if not self._held:
            return
        try:
            loop_thread.run(_leave(self._inner))
        finally:
            self._held = False
            loop_thread.__exit__(None, None, None)


async def _hurry(inner: registration.Registration) -> None:
    inner.hurry()


async def _leave(inner: AbstractAsyncContextManager[Any]) -> None:
    await inner.__aexit__(None, None, None)


class CircuitBreaker:
    """The breaker in front of one service, over the whole fleet; see `headgate.CircuitBreaker`."""

    def __init__(self, inner: circuits.CircuitBreaker) -> None:
        """Made by `Router.circuit_breakers`."""
        self._inner = inner

    @property
    def service_name(self) -> str:
        """The service that it protects the gateway from."""
        return self._inner.service_name

    @property
    def state(self) -> CircuitState:
        """The worst state that any data plane reports."""
        return self._inner.state

    @property
    def last_state_change(self) -> datetime | None:
        """Time of the last change of state at any data plane (UTC); None if there was none."""
        return self._inner.last_state_change

    @property
    def stats(self) -> CircuitStats:
        """Requests since the data planes started, summed."""
        return self._inner.stats

    @property
    def config(self) -> CircuitConfig:
        """When it opens, and how it tries again."""
        return self._inner.config

    @property
    def recent_failures(self) -> int:
        """Failures within the current window, summed, as of the last message."""
        return self._inner.recent_failures

    @property
    def reason(self) -> str:
        """The last transition in words."""
        return self._inner.reason

    @property
    def dataplanes(self) -> Mapping[str, CircuitReport]:
        """The same for each data plane, by node name."""
        return self._inner.dataplanes

    def reset(self) -> None:
        """Close the breaker on every data plane. Needs gateway:admin."""
        loop_thread.run(self._inner.reset())

    def refresh(self) -> None:
        """Read the current numbers now instead of waiting for the next message."""
        loop_thread.run(self._inner.refresh())

    def _get_recent_failures(self) -> int:
        return loop_thread.run(self._inner._get_recent_failures())

    def __repr__(self) -> str:
        """State and counters, for people."""
        return repr(self._inner)


class Registry:
    """The services and their instances; see `headgate.Registry`."""

    def __init__(self, inner: client.Registry) -> None:
        """Made by `connect`."""
        self._inner = inner

    def register_service(self, request: RegistrationRequest, *, wait: Wait = False) -> Instance:
        """Register an instance, and keep it registered until it is deregistered or the connection is closed."""
        return loop_thread.run(self._inner.register_service(request, wait=wait))

    def deregister_service(self, service_name: str, instance_id: str, *, wait: Wait = False) -> None:
        """Remove an instance; with `wait`, return once it can be stopped."""
        loop_thread.run(self._inner.deregister_service(service_name, instance_id, wait=wait))

    def drain_service(self, service_name: str, instance_id: str, *, wait: Wait = True) -> None:
        """Stop new requests to an instance, and wait for those under way; it stays registered."""
        loop_thread.run(self._inner.drain_service(service_name, instance_id, wait=wait))

    def get_services(self) -> list[Service]:
        """Every service with its instances, sorted by name."""
        return loop_thread.run(self._inner.get_services())

    def get_service(self, service_name: str) -> Service:
        """One service with its instances. Raises ServiceNotFound."""
        return loop_thread.run(self._inner.get_service(service_name))


class Router:
    """The routes and the circuit breakers; see `headgate.Router`."""

    def __init__(self, inner: client.Router) -> None:
        """Made by `connect`."""
        self._inner = inner

    @property
    def circuit_breakers(self) -> dict[str, CircuitBreaker]:
        """The breaker of every service, by service name, as of the last message of the watch."""
        return {name: CircuitBreaker(breaker) for name, breaker in self._inner.circuit_breakers.items()}

    def get_routes(self) -> dict[str, Route]:
        """Every route by its prefix, or exact path."""
        return loop_thread.run(self._inner.get_routes())

    def get_rate_limits(
        self,
        limit: str | None = None,
        *,
        key: str | None = None,
        node: str | None = None,
        most: int = 100,
    ) -> list[RateLimit]:
        """The current state of the limits, sorted by refusals."""
        return loop_thread.run(self._inner.get_rate_limits(limit, key=key, node=node, most=most))

    def reset_rate_limit(self, key: str) -> LimitReset:
        """Refill the buckets of a key everywhere. Raises BucketNotFound."""
        return loop_thread.run(self._inner.reset_rate_limit(key))


class Gateway:
    """A connection to the control plane; see `headgate.Gateway`."""

    def __init__(self, inner: client.Gateway) -> None:
        """Made by `connect`."""
        self._inner = inner
        self._inside = _Inside(inner)

    @property
    def registry(self) -> Registry:
        """The services and their instances."""
        return Registry(self._inner.registry)

    @property
    def router(self) -> Router:
        """The routes and the circuit breakers."""
        return Router(self._inner.router)

    @property
    def connected(self) -> bool:
        """Whether the watch is up, so that `router.circuit_breakers` is fresh."""
        return self._inner.connected

    def __enter__(self) -> Self:
        """Connect. Raises Unavailable, Unauthenticated, Forbidden."""
        self._inside.enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        self._inside.leave()


class Registration:
    """One instance that is registered while the `with` block runs; see `headgate.Registration`."""

    def __init__(self, inner: registration.Registration, handle_sigterm: bool) -> None:
        """Made by `register`."""
        self._inner = inner
        self._inside = _Inside(inner)
        self._handle_sigterm = handle_sigterm
        self._leaving = False
        self._holds_signal = False

    @property
    def registered(self) -> bool:
        """Whether the registry has the instance now, as far as this process knows."""
        return self._inner.registered

    @property
    def instance(self) -> Instance:
        """The instance as it was registered."""
        return self._inner.instance

    @property
    def lease(self) -> int | None:
        """The lease under which this process holds the instance; None if it has none."""
        return self._inner.lease

    @property
    def revision(self) -> int | None:
        """Revision of the last registration."""
        return self._inner.revision

    @property
    def last_error(self) -> HeadgateError | None:
        """The reason the last step failed; None when it did not."""
        return self._inner.last_error

    def __enter__(self) -> Self:
        """Register. Raises Unavailable after the deadline; any other HeadgateError at once."""
        self._take_signal()
        try:
            self._inside.enter()
            return self
        except BaseException:
            self._out()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the instance, whatever ended the block."""
        self._out()

    def hurry(self) -> None:
        """Leave without waiting for requests under way; another thread may call this while leaving waits for them."""
        with loop_thread:
            loop_thread.run(_hurry(self._inner))

    def stay(self) -> None:
        """Leave the block without deregistering: a successor inherits the lease of this process."""
        self._inner.stay()

    def inherit(self, leases: Iterable[int]) -> None:
        """Take over leases of dead processes in the same instance. They end when this process leaves the block."""
        self._inner.inherit(leases)

    def end(self, leases: Iterable[int]) -> None:
        """End leases of dead processes in the same instance now, also outside the block. Raises HeadgateError."""
        with loop_thread:
            loop_thread.run(self._inner.end(leases))

    def _out(self) -> None:
        self._leaving = True
        try:
            self._inside.leave()
        finally:
            if self._holds_signal:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def _take_signal(self) -> None:
        """Only the main thread can set handlers, and only for a signal without another handler."""
        main = threading.current_thread() is threading.main_thread()
        if self._handle_sigterm and main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self._on_signal)
            self._holds_signal = True

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if not self._leaving:
            self._leaving = True
            raise SystemExit(0)


def _signature_of(original: Callable[P, object]) -> Callable[[Callable[..., T]], Callable[P, T]]:
    """Give the wrapper the parameters and the documentation of the wrapped function."""

    def wrap(wrapper: Callable[..., T]) -> Callable[P, T]:
        return functools.wraps(original, assigned=("__doc__",))(wrapper)

    return wrap


@_signature_of(client.connect)
def connect(*args: Any, **options: Any) -> Gateway:
    return Gateway(client.connect(*args, **options))


@_signature_of(registration.register)
def register(*args: Any, **options: Any) -> Registration:
    handle_sigterm = options.pop("handle_sigterm", True)
    inner = registration.register(*args, **options, handle_sigterm=False)
    return Registration(inner, handle_sigterm)
