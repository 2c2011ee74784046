"""What to do about each status of a refusal: the source of docs/reference/errors.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

ADVICE: Final[Mapping[int, str]] = {
    400: "Mend the request. `errors` of the answer names every field that is wrong; nothing was changed.",
    401: "Log in again (`headgate login`), or send the token that the operation needs.",
    403: "Ask for the scope that `detail` names, then get a new token. `headgate whoami` shows the scopes.",
    404: "Compare the name with `headgate get`, the path with `/api/v1/openapi.json`.",
    405: "Use a method of `Allow`, or the path that `detail` names.",
    408: "Send the body without long pauses.",
    409: "Somebody else changed the same, or something else needs it: read what is there, then repeat.",
    412: "The resource has changed since it was read: read it again, then repeat with its new `ETag`.",
    413: "Send less in one change; apply the rest afterwards.",
    415: "Send a media type that `Accept` (after `PATCH`: `Accept-Patch`) of the answer names.",
    429: "Wait for `Retry-After` seconds.",
    500: "Look for the answer's `X-Request-Id` in the control plane's log.",
    503: "Wait for `Retry-After` seconds, then repeat; where it stays, look at etcd and at `/health`.",
    504: "The change is written. The answer names the data planes that do not serve it, and why.",
}
