"""Logins of the dashboard: the gateway's own tokens in cookies that scripts cannot read.

A browser sends cookies by itself, also for pages of others. So a cookie counts only in a request of the dashboard's own
page: the browser says where it comes from (`Sec-Fetch-Site`, or `Origin`), and a request that changes something has a
header that no form can send. Nothing of this concerns requests with an Authorization header.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from controlplane.api.caller import Network, is_trusted
from controlplane.api.machine import names_loopback
from controlplane.api.problems import HttpError

HEADER: Final = "X-Headgate-Dashboard"
"""Of every request of the dashboard that changes something; any value."""
PATH: Final = "/session"
INSECURE: Final = (
    "The dashboard is served only over TLS, or on the loopback interface: the password and the session would be sent "
    "unencrypted. Set ADMIN_CERT, put a proxy with TLS in front (TRUSTED_PROXIES, X-Forwarded-Proto), or open a tunnel "
    "and use http://localhost: kubectl port-forward, ssh -L"
)
_FOREIGN: Final = "The session's cookie counts only in requests of the dashboard's own page"


def is_https(request: Request, trusted: Iterable[Network]) -> bool:
    """Whether the browser uses TLS: to this process, or to a proxy that is trusted and says so."""
    if request.url.scheme == "https":
        return True
    told = request.headers.get("x-forwarded-proto", "").rpartition(",")[2].strip().lower()
    return told == "https" and is_trusted(request, trusted)


def is_private(request: Request, trusted: Iterable[Network]) -> bool:
    """Whether nobody on the way can read what the browser sends.

    The name of the host counts, not the address of the peer: `http://localhost` is the browser's own machine, where a
    tunnel or the port of a container begins.
    """
    return is_https(request, trusted) or names_loopback(request)


def credentials(enabled: bool, request: Request, trusted: Iterable[Network]) -> list[str]:
    """The value of an Authorization header that the cookie stands for; empty without one. HttpError 403."""
    token = _cookie(request, "", trusted) if enabled else ""
    if not token:
        return []
    require_own_page(request)
    return [f"Bearer {token}"]


def refresh_token(request: Request, trusted: Iterable[Network]) -> str:
    """The token with which the login is renewed; empty without one."""
    return _cookie(request, "-renew", trusted)


def require_own_page(request: Request) -> None:
    """HttpError 403 for a request that another page, or a form, may have made."""
    reading = request.method in ("GET", "HEAD")
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    if site is not None:
        own = site == "same-origin" or (reading and site == "none")
    elif origin is not None:
        own = urlsplit(origin).netloc.lower() == request.headers.get("host", "").lower()
    else:
        own = reading
    if not own or not (reading or HEADER in request.headers):
        raise HttpError(403, _FOREIGN)


def begin(
    response: Response, request: Request, trusted: Iterable[Network], tokens: dict[str, tuple[str, int]]
) -> None:
    """Set the cookies: tokens, and the seconds for which each is valid, by the end of the cookie's name."""
    secure = is_https(request, trusted)
    for end, (token, seconds) in tokens.items():
        _set(response, end, token, seconds, secure=secure)


def end(response: Response, request: Request, trusted: Iterable[Network]) -> None:
    """Remove the cookies."""
    secure = is_https(request, trusted)
    for name in ("", "-renew"):
        _set(response, name, "", 0, secure=secure)


def _set(response: Response, end: str, value: str, seconds: int, *, secure: bool) -> None:
    response.set_cookie(
        _name(end, secure=secure),
        value,
        max_age=seconds,
        path=PATH if end else "/",
        secure=secure,
        httponly=True,
        samesite="strict",
    )


def _name(end: str, *, secure: bool) -> str:
    """The prefixes make browsers keep out cookies that other hosts of the domain set, or that a plain page set."""
    prefix = ("__Secure-" if end else "__Host-") if secure else ""
    return f"{prefix}headgate{end}"


def _cookie(request: Request, end: str, trusted: Iterable[Network]) -> str:
    """Over TLS only a cookie with the prefix: any other may be one that a stranger has set."""
    return request.cookies.get(_name(end, secure=is_https(request, trusted)), "")
