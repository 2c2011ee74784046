"""Errors of logins and tokens. Messages hold no passwords, tokens or keys."""

from __future__ import annotations

from collections.abc import Iterable


class IdentityError(Exception):
    """The base of all errors of this package."""


class BadCredentials(IdentityError):
    """No such user, a wrong password, or a disabled user: the message does not say which."""

    def __init__(self, what: str = "wrong username or password") -> None:
        super().__init__(what)


class TooManyAttempts(IdentityError):
    """Log-ins are being slowed down; try again after `retry_after` seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"too many attempts to log in; try again in {retry_after:.0f} s")
        self.retry_after = retry_after


class InvalidToken(IdentityError):
    """A token that is malformed, expired, signed with another key, or issued for another purpose."""

    def __init__(self, detail: str = "not a valid token") -> None:
        super().__init__(detail)


class ExpiredToken(InvalidToken):
    """A token that was valid."""

    def __init__(self) -> None:
        super().__init__("the token has expired")


class EndedToken(InvalidToken):
    """A token that has not expired, and whose login has ended."""

    def __init__(self) -> None:
        super().__init__("the login of the token has ended: log in again")


class InvalidScope(IdentityError):
    """The request is for scopes that the user does not hold."""

    def __init__(self, detail: str, scopes: Iterable[str] = ()) -> None:
        super().__init__(detail)
        self.scopes = tuple(scopes)


class LacksScope(IdentityError):
    """The user holds none of the scopes that the caller needs."""

    def __init__(self, username: str) -> None:
        super().__init__(f"user {username!r} holds none of the scopes that are needed")
        self.username = username


class WrongSecretKey(IdentityError):
    """The keys in the store were encrypted with another SECRET_KEY."""

    def __init__(self) -> None:
        super().__init__("SECRET_KEY is not the one that the signing keys in the store were encrypted with")
