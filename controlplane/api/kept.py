"""Long texts that do not change while the process runs: made once, compressed once, and revalidated by their tag."""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from starlette.responses import Response

from controlplane.api.answers import NO_CACHE, not_modified
from controlplane.api.conditions import etag, is_known
from controlplane.api.operation import Call

_CODING = re.compile(r"\s*(gzip|x-gzip|\*)\s*(?:;\s*q\s*=\s*([0-9.]+)\s*)?", re.IGNORECASE)
_VARY = {"Vary": "Accept-Encoding"}


@dataclass(frozen=True, slots=True)
class _Made:
    plain: bytes
    packed: bytes
    tag: str


class KeptText:
    """A text that is made by the first who asks, and kept: it takes a while, and anybody may ask for the reference."""

    def __init__(
        self, make: Callable[[str], bytes], media_type: str, headers: Mapping[str, str] | None = None
    ) -> None:
        """`make` takes the version."""
        self._make = make
        self._media_type = media_type
        self._headers = {**NO_CACHE, **_VARY, **(headers or {})}
        self._made: dict[str, _Made] = {}

    async def answer(self, call: Call) -> Response:
        """The text for the version of this control plane; 304 if the client has it. HttpError 400."""
        version = call.parts.version
        if version not in self._made:
            await call.parts.commands.reads.run(lambda: self._keep(version))
        made, asked = self._made[version], call.request.headers
        packed = accepts_gzip(asked.get("accept-encoding", ""))
        # Each form is content of its own (RFC 9110, 8.8.3.3).
        tag = f"{made.tag}-gzip" if packed else made.tag
        if is_known(asked, tag):
            return not_modified(tag, _VARY)
        headers = {**self._headers, "ETag": etag(tag), **({"Content-Encoding": "gzip"} if packed else {})}
        return Response(made.packed if packed else made.plain, headers=headers, media_type=self._media_type)

    def _keep(self, version: str) -> None:
        # One at a time, and others may have waited for the same.
        if version not in self._made:
            plain = self._make(version)
            digest = hashlib.sha256(plain).hexdigest()[:16]
            self._made[version] = _Made(plain, gzip.compress(plain, mtime=0), digest)


def accepts_gzip(field: str) -> bool:
    """Whether a client takes this coding (RFC 9110, 12.5.3)."""
    named = [match for part in field.split(",") if (match := _CODING.fullmatch(part))]
    named.sort(key=lambda match: match[1] == "*")  # what is named wins over the rest
    return bool(named) and _quality(named[0][2]) > 0


def _quality(text: str | None) -> float:
    try:
        return float(text) if text else 1.0
    except ValueError:
        return 0.0
