"""The ways to get tokens (RFC 6749): by password, as a client, with a refresh token."""

from __future__ import annotations

from collections.abc import Callable, Collection

from controlplane.identity.errors import BadCredentials, InvalidScope, InvalidToken, LacksScope
from controlplane.identity.families import Member, Rotation
from controlplane.identity.revocations import Revoking
from controlplane.identity.tokens import RefreshClaims, TokenIssuer, Tokens
from controlplane.identity.users import Users
from controlplane.model.resources import User


class Grants:
    """The actions of the token endpoint after it has read the form. All raise the store's errors, too.

    `address` is the caller's address; `clock` gives Unix seconds. `needs`: scopes of which the tokens must have one,
    or LacksScope is raised, and nothing is begun or used up.
    """

    def __init__(
        self,
        users: Users,
        tokens: TokenIssuer,
        rotation: Rotation,
        revoking: Revoking,
        clock: Callable[[], float],
    ) -> None:
        self._users = users
        self._tokens = tokens
        self._rotation = rotation
        self._revoking = revoking
        self._clock = clock

    async def password(
        self,
        username: str,
        password: str,
        scope: str | None = None,
        address: str = "",
        needs: Collection[str] = (),
    ) -> Tokens:
        """Section 4.3. Raises BadCredentials, TooManyAttempts, InvalidScope, LacksScope."""
        user = await self._users.authenticate(username, password, address)
        tokens = self._tokens.begin_family(user, scope)
        _require(needs, tokens, username)
        return tokens

    async def client_credentials(
        self, client_id: str, secret: str, scope: str | None = None, address: str = ""
    ) -> Tokens:
        """Section 4.4: a user that is a program; without refresh token. Raises as `password` does."""
        return self._tokens.issue(await self._users.authenticate(client_id, secret, address), scope)

    async def refresh(
        self, refresh_token: str, scope: str | None = None, needs: Collection[str] = ()
    ) -> Tokens:
        """Section 6: new tokens for scopes that were granted and that the user still holds; the old one is used up.

        Raises BadCredentials when the token is not valid, was used before or its user is gone, disabled or has
        another password; and InvalidScope, LacksScope. A token that comes again ends the whole login.
        """
        try:
            claims = self._tokens.verify_refresh(refresh_token)
            user = await self._current(claims)
            still = tuple(name for name in user.scopes if name in claims.scopes)
            if claims.scopes and not still:
                raise InvalidScope("the user no longer holds any of the granted scopes", claims.scopes)
            # Before the token is used up: a wrong scope must not cost the login.
            tokens = self._tokens.issue(user.model_copy(update={"scopes": still}), scope, claims.member)
            _require(needs, tokens, claims.subject)
            following = await self._use(claims)
        except (InvalidToken, BadCredentials):
            raise BadCredentials("the refresh token is no longer valid: log in again") from None
        return self._tokens.continue_family(user, tokens, following, sorted(claims.scopes))

    async def revoke(self, refresh_token: str) -> None:
        """End the login that a refresh token belongs to (RFC 7009), and its access tokens.

        An invalid token has ended already.
        """
        try:
            claims = self._tokens.verify_refresh(refresh_token)
        except InvalidToken:
            return
        await self._end(claims.subject, claims.member, self._tokens.last)

    async def leave(self, access_token: str) -> None:
        """End the login that an access token belongs to, or the token alone if it belongs to none."""
        try:
            claims = self._tokens.verify(access_token)
        except InvalidToken:
            return
        until = self._tokens.last_of(claims)
        if claims.session:
            await self._end(claims.subject, Member(claims.session, 0, claims.started), until)
        else:
            await self._forbid(claims.subject, claims.id, until)

    async def _use(self, claims: RefreshClaims) -> Member:
        try:
            return await self._rotation.use(claims.subject, claims.member, self._clock())
        except InvalidToken:
            # Somebody has a copy: the family has ended, and so do the access tokens that it gave.
            await self._forbid(claims.subject, claims.member.family, self._tokens.last)
            raise

    async def _end(self, username: str, member: Member, until: float) -> None:
        # In this order: afterwards no control plane issues another access token of the login.
        await self._rotation.end(username, member, self._clock())
        await self._forbid(username, member.family, until)

    async def _forbid(self, username: str, name: str, until: float) -> None:
        await self._revoking.revoke(username, (name,), self._clock(), until)

    async def _current(self, claims: RefreshClaims) -> User:
        user = await self._users.current(claims.subject)
        if not claims.of(user):
            raise InvalidToken
        return user


def _require(needs: Collection[str], tokens: Tokens, username: str) -> None:
    if needs and not set(needs) & set(tokens.scope.split()):
        raise LacksScope(username)
