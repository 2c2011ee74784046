"""Start of a control plane once the store first answers: signing keys, built-in resources, the first user.

Several control planes may do each step at once; one of them succeeds. Nothing that an operator has changed or deleted
is changed back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import Any

from controlplane.api.parts import Parts
from controlplane.api.problems import HttpError
from controlplane.commands.adapters import StoredFamilies, StoredRevocations, open_keys
from controlplane.commands.errors import AlreadyExists
from controlplane.fleet.waiting import MOST_WAIT
from controlplane.identity import Grants, Hasher, TokenIssuer, Users, WrongSecretKey
from controlplane.model.base import parse_as
from controlplane.model.problems import ConfigProblems, InvalidConfig
from controlplane.model.resources import ResourceId, Tls, parse
from controlplane.model.stored import key_of
from controlplane.settings import Settings
from controlplane.store import AccessDenied, Store, StoreError
from controlplane.tls import tls_name

logger = logging.getLogger(__name__)

AUTHOR = "controlplane"
PATIENCE = 3.0
"""Seconds that a silent store may delay the start."""
PAUSE = 3.0
"""Seconds between two attempts while the store does not answer; each writes one log line."""

SCOPES: list[dict[str, Any]] = [
    {"name": "gateway:read", "description": "Read the configuration and the state of the fleet"},
    {"name": "gateway:admin", "description": "Change the configuration; implies gateway:read"},
    {"name": "gateway:tap", "description": "Look at requests of callers as they happen (headgate tap)"},
]
SERVICE: dict[str, Any] = {
    "service_name": "controlplane",
    "check_interval": 5.0,
    "check_timeout": 2.0,
    "healthy_threshold": 1,
    # A 503 from the admin API says that etcd does not answer; an open circuit would hide that message.
    "circuit": {"failure_threshold": 1000},
    # A request with `wait` is answered after that many seconds at the latest.
    "timeouts": {"response": MOST_WAIT + 10},
}
ROUTE: dict[str, Any] = {
    "name": "headgate-api",
    "prefix": "/api/v1",
    "service_name": "controlplane",
    # The control plane validates tokens itself.
    "public": True,
}


class StartError(Exception):
    """The control plane cannot start with these settings; the message says what to change."""


class Startup:
    """The steps, in order. Each is retried until the store answers; StartError ends the start."""

    def __init__(self, settings: Settings, store: Store, parts: Parts, hasher: Hasher) -> None:
        self._settings = settings
        self._store = store
        self._parts = parts
        self._hasher = hasher
        self._users: Users | None = None

    async def try_now(self) -> None:
        """Try once, so that settings that can never work are reported at once. `run` waits for a silent store."""
        with contextlib.suppress(StoreError, TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await self._steps()

    async def run(self) -> None:
        """Return when everything is in place. Raises StartError."""
        while self._parts.starting is not None:
            try:
                await self._steps()
            except StoreError as error:
                self._wait_for_store(error)
                await asyncio.sleep(PAUSE)
        where = {"admin": self._settings.admin_listen, "grpc": self._settings.grpc_listen}
        logger.info("control plane started", extra=where)

    async def repeat(self) -> None:
        """Run the steps on a store that replaced the first one. Raises store errors, HttpError."""
        try:
            await self._steps()
        except StartError as error:
            raise HttpError(409, f"The store lacks resources that a control plane needs: {error}") from None

    async def follow(self) -> None:
        """Run the steps whenever an operator confirmed a replaced store, until cancelled."""
        watcher, wake = self._parts.watcher, asyncio.Event()
        prepared = watcher.guard.good.lineage
        with watcher.changed.wakes(wake):
            while True:
                await wake.wait()
                wake.clear()
                if (lineage := watcher.guard.good.lineage) != prepared and prepared.id:
                    logger.warning("the store was replaced: checking it for missing resources")
                    self._parts.starting = "the control plane is checking the store for missing resources"
                    await self.run()
                prepared = lineage

    async def _steps(self) -> None:
        try:
            await self._parts.commands.ensure_lineage(AUTHOR)
            # Before the first token is accepted.
            await self._parts.revocations.read()
            await self._open_keys()
            await self._create_built_in()
            await self._create_first_user()
        except AccessDenied as error:
            detail = "etcd rejects ETCD_USERNAME and ETCD_PASSWORD, or that user lacks permissions"
            raise StartError(f"{detail}: {error}") from None
        except ConfigProblems as error:
            raise StartError(f"the control plane cannot start with the content of etcd: {error}") from None
        self._parts.starting = None

    def _wait_for_store(self, error: StoreError) -> None:
        endpoints = ", ".join(self._settings.etcd_endpoints)
        self._parts.starting = f"waiting for the store (etcd at {endpoints}): {error}"
        logger.warning("waiting for the store", extra={"reason": str(error), "endpoints": endpoints})

    async def _open_keys(self) -> None:
        settings = self._settings
        issuer, audience = settings.token_issuer, settings.token_audience
        secret_key = settings.secret_key.get_secret_value()
        try:
            executor = self._parts.commands.executor
            keys = await open_keys(executor, secret_key, issuer=issuer, audience=audience, now=time.time())
        except WrongSecretKey as error:
            raise StartError(str(error)) from None
        tokens = TokenIssuer(
            keys,
            time.time,
            issuer=issuer,
            audience=audience,
            access_ttl=settings.access_token_ttl,
            refresh_ttl=settings.refresh_token_ttl,
            refresh_lifetime=settings.refresh_token_lifetime,
            ended=self._parts.revocations.ended,
        )
        if self._users is None:
            # Once: the record of wrong passwords outlives a store that is replaced.
            self._users = Users(self._parts.find_user, self._hasher, time.monotonic)
        rotation = StoredFamilies(executor, settings.refresh_token_lifetime)
        revoking = StoredRevocations(executor, self._parts.revocations)
        self._parts.tokens = tokens
        self._parts.grants = Grants(self._users, tokens, rotation, revoking, time.time)

    async def _create_built_in(self) -> None:
        resources = [parse("scope", scope) for scope in SCOPES]
        switched_off: tuple[ResourceId, ...] = ()
        if self._settings.expose_admin:
            resources += [parse("service", SERVICE), parse("route", ROUTE)]
        else:
            switched_off = (("route", ROUTE["name"]),)
        await self._parts.commands.build_in(
            tuple(resources), switched_off, tls=_tls(self._settings), author=AUTHOR
        )

    async def _create_first_user(self) -> None:
        if (await self._store.list(key_of("user", ""))).entries:
            return
        username, password = self._settings.admin_username, self._settings.admin_password
        if password is None:
            raise StartError("ADMIN_PASSWORD: is not set, but the store holds no user yet")
        user = {
            "username": username,
            "password": password.get_secret_value(),
            "scopes": [scope["name"] for scope in SCOPES],
        }
        with contextlib.suppress(AlreadyExists):  # another control plane did it first
            await self._parts.commands.create("user", user, author=AUTHOR)
            logger.info("created the first user", extra={"username": username})


def _tls(settings: Settings) -> Tls | None:
    """TLS by which data planes reach the admin API. Instances have addresses, and certificates have names."""
    if settings.admin_cert is None:
        return None
    ca = settings.admin_ca.read_text() if settings.admin_ca else None
    fields = {"server_name": tls_name(settings.admin_cert).lower() or None, "ca": ca}
    try:
        return parse_as(Tls, fields)
    except InvalidConfig as error:
        raise StartError(f"ADMIN_CA: {error}") from None
