"""The ways to get tokens (RFC 6749): by password, as a client, with a refresh token."""

from __future__ import annotations

from controlplane.identity.errors import BadCredentials, InvalidScope, InvalidToken
from controlplane.identity.tokens import TokenIssuer, Tokens
from controlplane.identity.users import Users


class Grants:
    """What the token endpoint does once it has read the form. All raise the store's errors, too."""

    def __init__(self, users: Users, tokens: TokenIssuer) -> None:
        self._users = users
        self._tokens = tokens

    async def password(self, username: str, password: str, scope: str | None = None) -> Tokens:
        """Section 4.3. Raises BadCredentials, TooManyAttempts, InvalidScope."""
        return self._tokens.issue(await self._users.authenticate(username, password), scope)

    async def client_credentials(self, client_id: str, secret: str, scope: str | None = None) -> Tokens:
        """Section 4.4: a user that is a program; without refresh token. Raises as `password` does."""
        return self._tokens.issue(await self._users.authenticate(client_id, secret), scope, refresh=False)

    async def refresh(self, refresh_token: str, scope: str | None = None) -> Tokens:
        """Section 6: new tokens for scopes that were granted and that the user still holds.

        Raises BadCredentials when the token is not valid or its user is gone or disabled, and InvalidScope.
        """
        try:
            claims = self._tokens.verify_refresh(refresh_token)
        except InvalidToken:
            raise BadCredentials from None
        user = await self._users.current(claims.subject)
        still = tuple(name for name in user.scopes if name in claims.scopes)
        if claims.scopes and not still:
            raise InvalidScope("none of the scopes that were granted is held any more", claims.scopes)
        return self._tokens.issue(user.model_copy(update={"scopes": still}), scope)
