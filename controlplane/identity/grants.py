"""The ways to get tokens (RFC 6749): by password, as a client, with a refresh token."""

from __future__ import annotations

from collections.abc import Callable

from controlplane.identity.errors import BadCredentials, InvalidScope, InvalidToken
from controlplane.identity.families import Rotation
from controlplane.identity.tokens import RefreshClaims, TokenIssuer, Tokens
from controlplane.identity.users import Users
from controlplane.model.resources import User


class Grants:
    """The actions of the token endpoint after it has read the form. All raise the store's errors, too.

    `address` is the caller's address; `clock` gives Unix seconds.
    """

    def __init__(
        self, users: Users, tokens: TokenIssuer, rotation: Rotation, clock: Callable[[], float]
    ) -> None:
        self._users = users
        self._tokens = tokens
        self._rotation = rotation
        self._clock = clock

    async def password(
        self, username: str, password: str, scope: str | None = None, address: str = ""
    ) -> Tokens:
        """Section 4.3. Raises BadCredentials, TooManyAttempts, InvalidScope."""
        user = await self._users.authenticate(username, password, address)
        return self._tokens.begin_family(user, self._tokens.issue(user, scope))

    async def client_credentials(
        self, client_id: str, secret: str, scope: str | None = None, address: str = ""
    ) -> Tokens:
        """Section 4.4: a user that is a program; without refresh token. Raises as `password` does."""
        return self._tokens.issue(await self._users.authenticate(client_id, secret, address), scope)

    async def refresh(self, refresh_token: str, scope: str | None = None) -> Tokens:
        """Section 6: new tokens for scopes that were granted and that the user still holds; the old one is used up.

        Raises BadCredentials when the token is not valid, was used before or its user is gone, disabled or has
        another password; and InvalidScope.
        """
        try:
            claims = self._tokens.verify_refresh(refresh_token)
            user = await self._current(claims)
            still = tuple(name for name in user.scopes if name in claims.scopes)
            if claims.scopes and not still:
                raise InvalidScope("the user no longer holds any of the granted scopes", claims.scopes)
            # Before the token is used up: a wrong scope must not cost the login.
            tokens = self._tokens.issue(user.model_copy(update={"scopes": still}), scope)
            following = await self._rotation.use(claims.subject, claims.member, self._clock())
        except (InvalidToken, BadCredentials):
            raise BadCredentials("the refresh token is no longer valid: log in again") from None
        return self._tokens.continue_family(user, tokens, following, sorted(claims.scopes))

    async def revoke(self, refresh_token: str) -> None:
        """End the login that a refresh token belongs to (RFC 7009). An invalid token has ended already."""
        try:
            claims = self._tokens.verify_refresh(refresh_token)
            await self._rotation.end(claims.subject, claims.member, self._clock())
        except InvalidToken:
            return

    async def _current(self, claims: RefreshClaims) -> User:
        user = await self._users.current(claims.subject)
        if not claims.of(user):
            raise InvalidToken
        return user
