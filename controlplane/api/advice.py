"""Advice for each status of a refusal: the source of docs/reference/errors.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

ADVICE: Final[Mapping[int, str]] = {
    400: "Correct the request: `errors` in the response names every wrong field. Nothing was changed.",
    401: "Log in again (`headgate login`), or send the token that the operation needs.",
    403: "Ask for the scope that `detail` names, then get a new token. `headgate whoami` shows the scopes.",
    404: "Compare the name with the output of `headgate get`, and the path with `/api/v1/openapi.json`.",
    405: "Use a method from the `Allow` header, or the path that `detail` names.",
    408: "Send the body without long pauses.",
    409: "Another change came first, or another resource needs this one: read the current state, then repeat.",
    412: "The resource has changed since it was read: read it again, then repeat with its new `ETag`.",
    413: "Send less in one change; apply the rest afterwards.",
    415: "Send a media type that `Accept` (after `PATCH`: `Accept-Patch`) of the answer names.",
    429: "Wait for `Retry-After` seconds.",
    500: "Search the control plane's log for the response's `X-Request-Id`.",
    503: "Wait for `Retry-After` seconds, then repeat. If the error persists, check etcd and `/health`.",
    504: "The change is written. The response names the data planes that do not serve it, and the reasons.",
}
