"""Refusals of the admin API: `application/problem+json` (RFC 9457).

Every refusal is raised as an HttpError, or as an error of the parts below, which `explain` turns into one. `respond` is
the only place where a problem becomes bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from http import HTTPStatus

from starlette.responses import Response

from controlplane.model.problems import ConfigProblems, Problem
from controlplane.model.words import count

CREDENTIALS = "Could not validate credentials"
PERMISSIONS = "Not enough permissions"
RETRY_AFTER = "2"
"""Seconds; about the time of a fail-over to another etcd member, or of an election in etcd."""


class HttpError(Exception):
    """A request that is refused: status, detail, and optionally problems and headers."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        errors: Iterable[Problem] = (),
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, object] | None = None,
    ) -> None:
        """`more` are further members of the problem document (RFC 9457 §3.2)."""
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = tuple(errors)
        self.more = dict(more or {})
        self.headers = dict(headers or {})


def respond(refused: HttpError) -> Response:
    """The problem document of a refusal."""
    document: dict[str, object] = {
        "type": "about:blank",
        "title": HTTPStatus(refused.status).phrase,
        "status": refused.status,
        "detail": refused.detail,
    }
    if refused.errors:
        document["errors"] = [{"field": error.field, "detail": error.detail} for error in refused.errors]
    document.update(refused.more)
    return Response(
        json.dumps(document), refused.status, headers=refused.headers, media_type="application/problem+json"
    )


def invalid(error: ConfigProblems, more: Mapping[str, object] | None = None) -> HttpError:
    """The refusal of a configuration, listing everything that is wrong with it."""
    found = count(len(error.problems), "problem")
    return HttpError(
        400, f"The configuration has {found}; nothing was changed", errors=error.problems, more=more
    )


_BEARER = 'Bearer realm="headgate"'
"""A challenge has at least one parameter (RFC 6750 §3)."""


def unauthorized(reason: str, *, token_was_sent: bool) -> HttpError:
    """The caller is not authenticated (RFC 6750 §3: an error code only when a token was sent).

    `reason`: what the holder of the token may know.
    """
    challenge = f'{_BEARER}, error="invalid_token"' if token_was_sent else _BEARER
    return HttpError(401, CREDENTIALS, headers={"WWW-Authenticate": challenge}, more={"reason": reason})


def forbidden(scope: str, username: str, held: Iterable[str], advice: str = "") -> HttpError:
    """The caller is authenticated and lacks this scope. `held`: the user's scopes that the token grants."""
    challenge = f'{_BEARER}, error="insufficient_scope", scope="{scope}"'
    holds = ", ".join(sorted(held)) or "none"
    return HttpError(
        403,
        f"{PERMISSIONS}: user {username!r} needs the scope {scope}, and this token holds {holds}{advice}",
        headers={"WWW-Authenticate": challenge},
        more={"user": username, "needed": scope},
    )


def starting(reasons: Iterable[str]) -> HttpError:
    """The control plane is still starting."""
    detail = f"The control plane is starting: {'; '.join(reasons)}"
    return HttpError(503, detail, headers={"Retry-After": RETRY_AFTER})
