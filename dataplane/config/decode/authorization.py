"""Decodes a service that is asked about requests."""

from __future__ import annotations

import re
from typing import Final

from dataplane.config.decode.checker import Checker
from dataplane.config.decode.edits import OF_REQUESTS, OF_RESPONSES
from dataplane.gateway.policy.authorization import Authorization
from dataplane.proxy.fields.kinds import folded
from headgate_api.v1 import resources_pb2 as pb

_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]{1,64}")
_A_NAME: Final = "the name of a field in lower case"
LONGEST: Final = 5.0
"""Seconds for an answer: decisions as a whole have a last bound, too."""


def read_authorization(body: pb.Authorization, check: Checker) -> Authorization:
    """The values; problems are recorded in `check`."""
    to_service = check.each("authorize_with.to_service", body.to_service, _NAME, _A_NAME)
    to_client = check.each("authorize_with.to_client", body.to_client, _NAME, _A_NAME)
    _not_ours("authorize_with.to_service", to_service, OF_REQUESTS, check)
    _not_ours("authorize_with.to_client", to_client, OF_RESPONSES, check)
    if not 0 < body.timeout <= LONGEST:
        check.wrong(
            "authorize_with.timeout", f"must be above 0 and at most {LONGEST:g}, not {body.timeout:g}"
        )
    check.between("authorize_with.cache_seconds", body.cache_seconds, 0, 86_400)
    return Authorization(
        service=check.name("authorize_with.service_name", body.service_name),
        path=check.path("authorize_with.path", body.path),
        request_headers=check.each("authorize_with.request_headers", body.request_headers, _NAME, _A_NAME),
        to_service=to_service,
        to_client=to_client,
        timeout=body.timeout,
        cache_seconds=body.cache_seconds,
        cache_key=check.each("authorize_with.cache_key", body.cache_key, _NAME, _A_NAME),
        fail_open=body.fail_open,
    )


def _not_ours(path: str, names: tuple[str, ...], protected: frozenset[bytes], check: Checker) -> None:
    for name in names:
        if folded(name.encode()) in protected:
            check.wrong(path, f"{name!r} is a field that the gateway writes")
