"""Authentication of callers, and their permissions.

A bearer credential in the call's metadata (as in RFC 6750) identifies the caller; without one the client certificate
does (see `client_certificate`). There are three kinds of callers, each with its own permissions:
- A data plane reads the config stream of its pool: by one of the shared tokens of the data planes, which are those of
  the default pool, by a token or a certificate of a pool, or by a service account that a pool names.
- A service registers its instances and looks: by a service token, which is bound to one service, by certificate, or by
  one of the shared tokens of the services, which stand for any of them. A pod does the same for the services that name
  its service account (see `service_accounts`).
- People look, or change everything, as their scopes say: by access token, with the rights of the moment. A user that is
  deleted or disabled is refused at once, and a scope that was taken away no longer counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

from controlplane.commands.commands import Commands
from controlplane.distribute.watcher import Watcher
from controlplane.fleet.bounds import is_node
from controlplane.identity import (
    Claims,
    DataplaneClaims,
    InvalidToken,
    KeysUnavailable,
    RefusedCalls,
    RefusedToken,
    ServiceAccounts,
    ServiceClaims,
    SharedTokens,
    TokenIssuer,
    is_account_token,
)
from controlplane.model.pool import DEFAULT_POOL
from controlplane.model.registration import ServiceAccount
from controlplane.model.resources import User
from controlplane.rpc import client_certificate
from controlplane.rpc.client_certificate import Role
from controlplane.rpc.errors import Code, Context, Refused, forbidden, not_ready, unauthenticated
from controlplane.rpc.pool_members import PoolMembers
from controlplane.rpc.service_accounts import Permissions

RECHECK = 5.0
"""Seconds after which the credential of an open stream is checked again: a withdrawn one ends the stream."""


class Right(Enum):
    """Permissions that a call of the registry needs."""

    LOOK = "look"
    INSPECT = "inspect"
    """Read data about callers."""
    REGISTER = "register"
    CHANGE = "change"
    """Calls beyond a service's own registration."""


_SERVICES = frozenset({Right.LOOK, Right.REGISTER})
_SCOPES = {
    "gateway:read": frozenset({Right.LOOK, Right.INSPECT}),
    "gateway:admin": frozenset({Right.LOOK, Right.INSPECT, Right.REGISTER, Right.CHANGE}),
}
_NOT_FOR_SERVICES = frozenset({"controlplane"})
"""The gateway sends passwords there: an instance that joins this service could read them."""
_NO_ACCOUNTS = "this control plane accepts no service-account tokens of Kubernetes (SERVICE_ACCOUNT_TOKENS)"
_NO_KEYS = (
    "the control plane cannot verify service-account tokens: it cannot read the keys of the cluster; its log and "
    "/health have the reason"
)


@dataclass(frozen=True, slots=True)
class Caller:
    """A caller with a valid credential. `expires` (Unix seconds) is None for one that does not expire."""

    role: Role
    name: str | None
    """Data plane, service or user; None for a credential that is valid for any of its kind."""
    expires: float | None = None
    claims: Claims | None = None
    """A user's."""
    account: ServiceAccount | None = None
    """A pod's, which may register the services that name it."""
    pool: str = DEFAULT_POOL
    """A data plane's."""

    @property
    def bound(self) -> bool:
        """Whether the caller may register some services only."""
        return self.role is Role.SERVICE and (self.name is not None or self.account is not None)

    def same(self, other: Caller) -> bool:
        """Whether both are one caller, who may change the same registrations."""
        return (self.role, self.name, self.account) == (other.role, other.name, other.account)

    def check_service(self, service_name: str) -> None:
        """Raises Refused unless the caller's credential is for the registrations of this service."""
        if self.role is not Role.SERVICE:
            return
        if self.name is not None and service_name != self.name:
            wanted = service_name[:64]
            detail = (
                f"the credential is for service '{self.name}', not for '{wanted}': "
                f"`headgate token service {wanted}` makes one"
            )
            raise Refused(Code.PERMISSION_DENIED, detail)
        if service_name in _NOT_FOR_SERVICES:
            detail = f"service '{service_name}' belongs to the gateway: its registration needs the scope gateway:admin"
            raise Refused(Code.PERMISSION_DENIED, detail)

    def check_node(self, node: str) -> None:
        """Raises Refused unless the caller may be the data plane of this name."""
        if self.name is not None and node != self.name:
            detail = f"the credential is for data plane '{self.name}', not for '{node[:128]}'"
            raise Refused(Code.PERMISSION_DENIED, detail)


class Credentials:
    """Checks the credentials of callers. `tokens` gives None until the signing keys have been read."""

    def __init__(
        self,
        dataplanes: SharedTokens,
        services: SharedTokens,
        tokens: Callable[[], TokenIssuer | None],
        watcher: Watcher,
        commands: Commands,
        refused: RefusedCalls | None = None,
        accounts: ServiceAccounts | None = None,
    ) -> None:
        """Without `accounts`, no service-account token is accepted."""
        self.refused = refused or RefusedCalls()
        """Calls that were refused because of their credential."""
        self._dataplanes = dataplanes
        self._services = services
        self._tokens = tokens
        self._watcher = watcher
        self._commands = commands
        self._accounts = accounts
        self._permissions = Permissions(watcher)
        self._pools = PoolMembers(watcher)

    def __repr__(self) -> str:
        return "<Credentials>"

    async def require_dataplane(self, context: Context) -> Caller:
        """The caller, which is a data plane of a pool that exists. Raises Refused."""
        sent = _bearer(context)
        if sent is not None and is_account_token(sent):
            account, expires = await self._verified(sent)
            return Caller(Role.DATAPLANE, None, expires, account=account, pool=self._pools.of(account))
        caller = self._identify(context)
        if caller.role is not Role.DATAPLANE:
            raise forbidden()
        self._pools.check(caller.pool)
        return caller

    def known_as(self, caller: Caller, node: str) -> str:
        """The name in the fleet of the data plane that calls itself `node`: no credential can take the name, or the
        place, of a data plane of another pool. Raises Refused unless the caller may be it."""
        caller.check_node(node)
        found = node if caller.pool == DEFAULT_POOL else f"{caller.pool}/{node}"
        if caller.pool == DEFAULT_POOL:
            self._pools.check_free(node)
        if not is_node(found):
            raise Refused(Code.INVALID_ARGUMENT, f"hello.node: is too long together with its pool: {found}")
        return found

    async def require(self, right: Right, context: Context) -> Caller:
        """The caller, which has this right. Raises Refused, StoreUnavailable."""
        sent = _bearer(context)
        if sent is not None and is_account_token(sent):
            caller = await self._by_account(sent)
        else:
            caller = self._identify(context)
        if caller.claims is not None:
            await self._check(caller.claims, right)
        elif caller.role is not Role.SERVICE or right not in _SERVICES:
            raise forbidden()
        return caller

    def check_service(self, caller: Caller, service_name: str) -> None:
        """Raises Refused unless the caller may change the registrations of this service."""
        caller.check_service(service_name)
        if caller.account is not None:
            self._permissions.check(caller.account, service_name)

    def withdrawn(self, caller: Caller, services: Iterable[str]) -> bool:
        """Whether the caller could register one of these services before, and may not any more."""
        return caller.account is not None and self._permissions.lacks(caller.account, services)

    def presented(self, context: Context) -> object:
        """The credential that the caller presented: callers with the same one are checked together."""
        sent = _bearer(context)
        return sent if sent is not None else client_certificate.identity_of(context)

    def _identify(self, context: Context) -> Caller:
        sent = _bearer(context)
        if sent is not None:
            return self._by_token(sent)
        if (found := client_certificate.identity_of(context)) is not None:
            return Caller(found.role, found.name, pool=found.pool)
        raise unauthenticated()

    async def _by_account(self, sent: bytes) -> Caller:
        account, expires = await self._verified(sent)
        self._permissions.check_any(account)
        return Caller(Role.SERVICE, None, expires, account=account)

    async def _verified(self, sent: bytes) -> tuple[ServiceAccount, float]:
        """The account of a pod's token, and the end of the token. Raises Refused."""
        if self._accounts is None:
            raise Refused(Code.UNAUTHENTICATED, _NO_ACCOUNTS)
        try:
            claims = await self._accounts.verify(sent)
        except RefusedToken as error:
            raise Refused(Code.UNAUTHENTICATED, str(error)) from None
        except KeysUnavailable:
            raise Refused(Code.UNAVAILABLE, _NO_KEYS) from None
        return claims.account, claims.expires

    def _by_token(self, sent: bytes) -> Caller:
        if self._dataplanes.accepts(sent):
            return Caller(Role.DATAPLANE, None)
        if self._services.accepts(sent):
            return Caller(Role.SERVICE, None)
        # A shared token has no dots: a wrong one is refused even while the signing keys are still being read.
        if sent.count(b".") != 2:
            raise unauthenticated()
        if (tokens := self._tokens()) is None:
            raise not_ready()
        try:
            return _by_jwt(tokens, sent.decode())
        except (InvalidToken, UnicodeDecodeError):
            raise unauthenticated() from None

    async def _check(self, claims: Claims, right: Right) -> None:
        if _may(claims, self._watched(claims.subject), right):
            return
        # The watcher may be a moment behind: before a refusal the store itself is asked.
        user = await self._commands.find_user(claims.subject)
        if user is None or user.disabled or not claims.of(user):
            raise unauthenticated()
        if not _may(claims, user, right):
            raise forbidden()

    def _watched(self, username: str) -> User | None:
        if self._watcher.current is None:
            return None
        stamped = self._watcher.current.resources.get(("user", username))
        return stamped.resource if stamped and isinstance(stamped.resource, User) else None


def _by_jwt(tokens: TokenIssuer, sent: str) -> Caller:
    match tokens.verify_any(sent):
        case ServiceClaims(service, expires):
            return Caller(Role.SERVICE, service, expires)
        case DataplaneClaims(pool, node, expires):
            return Caller(Role.DATAPLANE, node, expires, pool=pool)
        case claims:
            return Caller(Role.USER, claims.subject, claims.expires, claims)


def _may(claims: Claims, user: User | None, right: Right) -> bool:
    if user is None or user.disabled or not claims.of(user):
        return False
    held = claims.scopes & frozenset(user.scopes)
    return any(right in _SCOPES.get(scope, ()) for scope in held)


def _bearer(context: Context) -> bytes | None:
    """The credential that was sent, empty when it is none or there are several; None when nothing was sent."""
    sent = [value for key, value in context.invocation_metadata() or () if key == "authorization"]
    if not sent:
        return None
    scheme, _, credential = str(sent[0]).partition(" ") if len(sent) == 1 else ("", "", "")
    return credential.strip().encode() if scheme.lower() == "bearer" else b""
