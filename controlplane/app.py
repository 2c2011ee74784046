"""Assembles the control plane: an ASGI application whose lifespan starts and stops every part.

    settings ─▶ store ─▶ watcher ─▶ hub, fleet ─▶ gRPC server
                   └───▶ commands ─▶ admin API, registry
    in the background: startup (keys, built-in resources, first user), then presence (the own registration)

The store need not answer yet when the process starts: `/health` answers at once, and `/ready` says what is missing.
A permanent fault (wrong settings, a port in use, a wrong SECRET_KEY) ends the process with one line.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import logging
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from pydantic import SecretStr
from starlette.types import ASGIApp, Receive, Scope, Send

from controlplane import aside, logs
from controlplane.api.application import make_api
from controlplane.api.metrics import PartsCollector
from controlplane.api.parts import Parts
from controlplane.api.recorder import RequestRecord, known_method
from controlplane.api.streams import Streams
from controlplane.commands.adapters import StoredMembership
from controlplane.commands.commands import Commands
from controlplane.commands.staging import Decided, Sweeper, Undecided
from controlplane.discovery.dns import DnsResolver
from controlplane.discovery.kubernetes_api import Access, KubernetesApi
from controlplane.discovery.published_keys import published_keys
from controlplane.discovery.running import run as discover
from controlplane.discovery.sources import AllSources
from controlplane.distribute.hub import Hub
from controlplane.distribute.watcher import Watcher
from controlplane.fleet.links import Links
from controlplane.fleet.nodes import Fleet
from controlplane.fleet.peers import Peers
from controlplane.identity import (
    ClusterKeys,
    Hasher,
    PeerSecret,
    Sealer,
    ServiceAccounts,
    SharedTokens,
    UnusableFile,
)
from controlplane.limits.claims import Claims
from controlplane.limits.desk import Desk, coarse_limit, fleet_limits
from controlplane.model.rate_limit import FLEET_LIMITS, RateLimit
from controlplane.model.snapshot import Snapshot
from controlplane.presence import Presence, instance_of, member_of, own_name
from controlplane.rpc import (
    CannotListen,
    LimitLinks,
    LimitRoutes,
    LinkTls,
    PeerLink,
    QuestionLinks,
    Questions,
    RpcServer,
    Rules,
    TlsError,
    TlsFiles,
    serve,
)
from controlplane.settings import Settings, SettingsError, load, misspelled
from controlplane.startup import StartError, Startup
from controlplane.store import Election, EtcdSettings, EtcdStore, Store
from controlplane.telemetry.spans import Rollouts
from controlplane.telemetry.start import Telemetry, WrongVariable
from controlplane.telemetry.start import start as start_telemetry

logger = logging.getLogger(__name__)

SETTLE = 3.0
"""Seconds within which data planes that lost a control plane have reconnected; they retry every second."""

_NOT_ADVERTISED = (
    "the gateway does not route /api/v1 to this control plane: data planes on other machines cannot reach the admin "
    "API; set ADVERTISE to host:port, or EXPOSE_ADMIN=false"
)

VERSION = importlib.metadata.version("headgate-controlplane")


def create_app(
    settings: Settings | None = None, stop: Callable[[], None] = lambda: signal.raise_signal(signal.SIGTERM)
) -> ControlPlane:
    """The control plane as an application; without `settings`, they are read when the lifespan begins.

    `stop` is called on a permanent fault; it must end the server.
    """
    return ControlPlane(settings, stop)


class ControlPlane:
    """The ASGI application. `failure` is the error that ended it; None while there is none."""

    def __init__(self, settings: Settings | None, stop: Callable[[], None]) -> None:
        self.failure: BaseException | None = None
        self._settings = settings
        self._stop = stop
        self._api: ASGIApp | None = None
        self._streams = Streams()

    def end_streams(self) -> None:
        """End all event streams: requests under way hold up the end of the process."""
        self._streams.stopping.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or run the lifespan."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:
            assert self._api is not None, "requests are served within the lifespan"
            await self._api(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            settings = self._settings or load()
            logs.set_up(settings.level)
            for sentence in misspelled():
                logger.warning(sentence)
            async with running(settings, self._end, self._streams) as self._api:
                await send({"type": "lifespan.startup.complete"})
                await receive()
        except (SettingsError, StartError) as error:
            self._tell(error)
            # Uvicorn would add that the start failed.
            logging.getLogger("uvicorn.error").disabled = True
            await send({"type": "lifespan.startup.failed", "message": ""})
        else:
            await send({"type": "lifespan.shutdown.complete"})

    def _end(self, error: BaseException) -> None:
        if self.failure is None:
            self._tell(error)
            self._stop()

    def _tell(self, error: BaseException) -> None:
        self.failure = error
        if isinstance(error, SettingsError | StartError):
            sys.stderr.write(f"headgate-controlplane: {error}\n")
        else:
            logger.critical("a part of the control plane failed", exc_info=error)


@asynccontextmanager
async def running(
    settings: Settings, failed: Callable[[BaseException], None], streams: Streams | None = None
) -> AsyncIterator[ASGIApp]:
    """Start the parts, yield the admin API, and stop the parts in reverse order. `streams`: the open event streams.

    Raises StartError for a permanent fault at start; calls `failed` with a permanent fault later.
    """
    async with AsyncExitStack() as stack:
        stack.enter_context(aside.giving_way())
        await stack.enter_async_context(background(aside.collect(), failed))
        await stack.enter_async_context(background(aside.free(), failed))
        store = _open_store(settings)
        stack.push_async_callback(store.close)
        secret_of_peers, name = PeerSecret(settings.secret_key.get_secret_value()), own_name(settings)
        telemetry = _telemetry(name)
        stack.push_async_callback(telemetry.end)
        hasher, watcher, fleet = Hasher(), Watcher(store), Fleet(settle=SETTLE)
        hub = Hub(watcher, fleet)
        hub.rollouts = telemetry.spans.rollouts
        watcher.accepted = _follow_changes(watcher, telemetry.spans.rollouts)
        sealer = Sealer(settings.secret_key.get_secret_value())
        commands = Commands(
            store, hasher, time.time, watcher, settings.max_routes, sealer.seal, telemetry.spans
        )
        parts = Parts(
            commands,
            watcher,
            fleet,
            VERSION,
            settings.anonymous_read,
            trusted_proxies=settings.trusted_proxies,
            cors_origins=settings.admin_cors_origins,
            messages=hub.messages,
            most_routes=settings.max_routes,
            store=store,
            dashboard=settings.dashboard,
            refresh_ttl=settings.refresh_token_ttl,
            traffic_history=settings.traffic_history,
        )
        if streams is not None:  # without open streams it is false
            parts.streams, streams.trusted = streams, settings.trusted_proxies
        _measure(parts, telemetry)
        startup = Startup(settings, store, parts, hasher)
        parts.prepare_store = startup.repeat
        await startup.try_now()
        stack.callback(logger.info, "control plane stopped")
        await stack.enter_async_context(background(watcher.run(), failed))
        await stack.enter_async_context(background(parts.observer.run(), failed))
        await stack.enter_async_context(background(parts.traffic.record(), failed))
        await stack.enter_async_context(background(parts.revocations.run(), failed))
        links = Links(fleet, PeerLink(secret_of_peers, name, _link_tls(settings)))
        membership, member = StoredMembership(commands.executor), member_of(settings)
        peers = Peers(store, membership, fleet, name, member=member, links=links)
        await stack.enter_async_context(background(peers.run(), failed))
        claims = Claims(store, name, peers.owners)
        parts.desk = desk = Desk(claims)
        routes = LimitRoutes(desk, claims)
        routes.link = limit_links = LimitLinks(
            routes, secret_of_peers, name, peers.member, _link_tls(settings)
        )
        stack.push_async_callback(limit_links.close)
        parts.asker = questions = Questions(
            fleet, QuestionLinks(secret_of_peers, name, peers.member, _link_tls(settings))
        )
        for work in (claims.run(), desk.run(), _follow_limits(watcher, desk, settings)):
            await stack.enter_async_context(background(work, failed))
        await stack.enter_async_context(background(Sweeper(store, Decided(watcher)).run(), failed))
        election = Election(store, "sweeper", peers.name)
        sweeping = election.run(lambda fenced: Sweeper(fenced, Undecided(watcher)).run())
        await stack.enter_async_context(background(sweeping, failed))
        rules = _rules(settings)
        sources = AllSources(
            DnsResolver(settings.discovery_dns_servers), _kubernetes(settings), rules.complaint
        )
        discovery = discover(store, watcher, hasher, peers.name, sources, parts.discovery)
        await stack.enter_async_context(background(discovery, failed))
        if (accounts := _service_accounts(settings)) is not None:
            parts.accounts = accounts
            await stack.enter_async_context(background(accounts.keys.run(), failed))
        stack.push_async_callback(
            (await _serve_rpc(settings, parts, hub, (secret_of_peers, name), routes, rules, questions)).stop
        )
        await stack.enter_async_context(background(_live(startup, settings, commands), failed))
        yield make_api(parts)


def _telemetry(name: str) -> Telemetry:
    """`name`: of this process among the control planes."""
    try:
        return start_telemetry(VERSION, name)
    except WrongVariable as error:
        raise StartError(str(error)) from None


def _follow_changes(watcher: Watcher, rollouts: Rollouts) -> Callable[[Snapshot], None]:
    """Tell of each published snapshot, with the changes that are new in it."""
    told = 0

    def accepted(published: Snapshot) -> None:
        nonlocal told
        new, told = watcher.changes.after(told), watcher.changes.number
        try:
            rollouts.published(published.revision, new)
        except Exception:
            # Publishing must go on whatever happens to its traces.
            logger.exception("a change cannot be traced")

    return accepted


def _measure(parts: Parts, telemetry: Telemetry) -> None:
    """Have the metrics exported, and each request to the admin API measured."""
    telemetry.bridge(PartsCollector(parts))
    if (measure := telemetry.measure) is not None:

        def ended(record: RequestRecord) -> None:
            seconds = time.monotonic() - record.started
            measure(known_method(record.method), record.route, record.status, seconds)

        parts.ended = ended


def _link_tls(settings: Settings) -> LinkTls:
    """TLS settings for control planes whose gRPC port is encrypted."""
    ca = settings.grpc_peer_ca or settings.grpc_client_ca
    if settings.grpc_client_ca is None:
        return LinkTls(ca)
    return LinkTls(ca, settings.grpc_cert, settings.grpc_key)


async def _follow_limits(watcher: Watcher, desk: Desk, settings: Settings) -> None:
    """Give the desk the published limits of the fleet, and the limit from the settings."""
    share = settings.limit_share_seconds
    rate, burst = settings.rate_limit_per_second, settings.rate_limit_burst
    wake, known = asyncio.Event(), None
    with watcher.changed.wakes(wake):
        while True:
            wake.clear()
            if watcher.current is not None:
                # Resources that need the capability.
                needed = watcher.current.needs.get(FLEET_LIMITS, {})
                found = [watcher.current.resources[each].resource for each in needed]
                pools = sorted(watcher.current.pools)
                if (found, pools) != known:
                    known = found, pools
                    limits = fleet_limits((one for one in found if isinstance(one, RateLimit)), share)
                    desk.adopt({**limits, **coarse_limit(rate, burst, share, pools)})
            await wake.wait()


async def _serve_rpc(
    settings: Settings,
    parts: Parts,
    hub: Hub,
    peer: tuple[PeerSecret, str],
    limits: LimitRoutes,
    rules: Rules,
    questions: Questions,
) -> RpcServer:
    files = None
    if settings.grpc_cert and settings.grpc_key:
        files = TlsFiles(settings.grpc_cert, settings.grpc_key, settings.grpc_client_ca)
    try:
        return await serve(
            listen=settings.grpc_listen,
            hub=hub,
            fleet=parts.fleet,
            commands=parts.commands,
            tokens=lambda: parts.tokens,
            dataplane_tokens=_shared(settings.dataplane_token, settings.dataplane_token_file),
            service_tokens=_shared(settings.service_token, settings.service_token_file),
            tls=files,
            peer=peer,
            refused=parts.refused,
            limits=limits,
            rules=rules,
            accounts=parts.accounts,
            questions=questions,
            unseal=Sealer(settings.secret_key.get_secret_value()).opened,
        )
    except CannotListen as error:
        raise StartError(f"GRPC_LISTEN: {error}") from None
    except TlsError as error:
        raise StartError(f"GRPC_CERT: {error}") from None
    except UnusableFile as error:
        raise StartError(str(error)) from None


def _kubernetes(settings: Settings) -> KubernetesApi | None:
    """The API of the cluster in which this control plane runs, or of another one."""
    if (url := settings.kubernetes_api) is None:
        return None
    return KubernetesApi(Access(url, settings.kubernetes_token_file, settings.kubernetes_ca))


def _service_accounts(settings: Settings) -> ServiceAccounts | None:
    """The verifier of pods' tokens; None if they are not accepted."""
    if not settings.service_account_tokens or (api := _kubernetes(settings)) is None:
        return None
    issuers = settings.service_account_issuers
    return ServiceAccounts(
        ClusterKeys(published_keys(api, issuers)), settings.service_account_audience, issuers
    )


def _rules(settings: Settings) -> Rules:
    """The addresses that may become instances, whether services register them or discovery finds them."""
    return Rules(
        allow=settings.register_allow,
        deny=settings.register_deny,
        sockets=settings.unix_sockets,
        most_instances=settings.register_most_instances,
        most_services=settings.register_most_services,
    )


def _shared(token: SecretStr | None, file: Path | None) -> SharedTokens:
    return SharedTokens(*([token.get_secret_value()] if token else []), file=file)


def _open_store(settings: Settings) -> Store:
    password = settings.etcd_password
    try:
        return EtcdStore(
            EtcdSettings(
                settings.etcd_endpoints,
                ca=settings.etcd_ca,
                cert=settings.etcd_cert,
                key=settings.etcd_key,
                username=settings.etcd_username,
                password=password.get_secret_value() if password else None,
            )
        )
    except ValueError as error:
        raise StartError(str(error)) from None


async def _live(startup: Startup, settings: Settings, commands: Commands) -> None:
    await startup.run()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(startup.follow(), name="startup: follow")
        if not settings.expose_admin:
            return
        if (instance := instance_of(settings)) is None:
            logger.warning(_NOT_ADVERTISED, extra={"admin": settings.admin_listen})
        else:
            tasks.create_task(Presence(commands, instance).run(), name="presence")


@asynccontextmanager
async def background(
    work: Coroutine[None, None, None], failed: Callable[[BaseException], None]
) -> AsyncIterator[None]:
    """Run `work` beside the block and cancel it at its end; `failed` gets the exception that ends it."""

    def done(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            failed(error)

    task = asyncio.create_task(work)
    task.add_done_callback(done)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


app = create_app()
