"""Decodes edits of header fields."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from dataplane.config.decode.checker import Checker
from dataplane.gateway.policy.edits import HeaderEdits
from dataplane.proxy.fields.kinds import REQUEST, RESPONSE, folded
from headgate_api.v1 import resources_pb2 as pb

OF_REQUESTS: Final = frozenset(REQUEST.keys() - {b"authorization", b"cookie"}) | {
    b"via",
    b"x-auth-subject",
    b"x-auth-scopes",
}
"""Fields of requests that the gateway writes itself, or that belong to one connection."""
OF_RESPONSES: Final = frozenset(RESPONSE)
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]{1,64}")
_VALUE: Final = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")
_VARIABLE: Final = re.compile(r"address|subject|route|request_id|claim:[\x21-\x7a|~]{1,64}")


def read_edits(path: str, body: pb.HeaderEdits, protected: frozenset[bytes], check: Checker) -> HeaderEdits:
    """The edits; problems are recorded in `check`."""
    for kind, names in (("set", body.set), ("add", body.add), ("remove", body.remove)):
        for name in names:
            if not _NAME.fullmatch(name) or folded(name.encode()) in protected:
                check.wrong(f"{path}.{kind}", f"{name!r} cannot be edited")
    return HeaderEdits(
        _values(f"{path}.set", body.set, check), _values(f"{path}.add", body.add, check), tuple(body.remove)
    )


def _values(path: str, values: Mapping[str, str], check: Checker) -> Mapping[str, str]:
    for name, value in values.items():
        unknown = [one for one in re.findall(r"%\{([^}]*)", value) if not _VARIABLE.fullmatch(one)]
        if not _VALUE.fullmatch(value) or unknown:
            check.wrong(f"{path}.{name}", f"{value!r} is not known to this version")
    return dict(values)
