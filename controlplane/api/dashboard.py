"""The dashboard: its page and its assets, which are built by `make dashboard` and are part of the wheel.

The browser loads nothing from elsewhere and runs nothing but these assets (Content-Security-Policy).
"""

from __future__ import annotations

import gzip
import mimetypes
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

from starlette.responses import Response

from controlplane.api import session
from controlplane.api.kept import accepts_gzip
from controlplane.api.operation import Answer, Call, Operation, get
from controlplane.api.problems import HttpError

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
_PAGE: Final = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-cache",
    "Vary": "Accept, Accept-Encoding",
}
# The name of an asset changes with its content.
_ASSET: Final = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Vary": "Accept-Encoding",
}
_PLAIN_POLICY: Final = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
NOT_BUILT: Final = (
    "This control plane was installed without the assets of the dashboard. In a checkout, build them with: "
    "make dashboard"
)


@dataclass(frozen=True, slots=True)
class _File:
    plain: bytes
    packed: bytes
    media_type: str


def start_page(call: Call) -> Response:
    """The page for browsers: the dashboard, or the reason why there is none."""
    if not session.is_private(call.request, call.parts.trusted_proxies):
        return _reason(403, session.INSECURE)
    page = _files().get("index.html")
    return _reason(503, NOT_BUILT) if page is None else _answer(call, page, _PAGE)


async def asset(call: Call) -> Response:
    """A script, a style or an image of the page."""
    found = _files().get(f"assets/{call.path('name')}") if call.parts.dashboard else None
    if found is None:
        raise HttpError(404, "The dashboard has no such asset")
    return _answer(call, found, _ASSET)


def _answer(call: Call, file: _File, headers: Mapping[str, str]) -> Response:
    packed = accepts_gzip(call.request.headers.get("accept-encoding", ""))
    coded = {**headers, **({"Content-Encoding": "gzip"} if packed else {})}
    return Response(file.packed if packed else file.plain, headers=coded, media_type=file.media_type)


def _reason(status: int, text: str) -> Response:
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Headgate</title>'
        f'<h1>No dashboard</h1><p>{escape(text)}</p><p><a href="/docs">Reference of the admin API</a></p></html>'
    )
    return Response(page, status, {"Content-Security-Policy": _PLAIN_POLICY, "Vary": "Accept"}, "text/html")


@cache
def _files() -> Mapping[str, _File]:
    """All built files by their path; some hundred kilobytes."""
    return dict(_found(files("controlplane") / "dashboard", ""))


def _found(folder: Traversable, prefix: str) -> Iterator[tuple[str, _File]]:
    if not folder.is_dir():
        return
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _found(entry, f"{prefix}{entry.name}/")
        else:
            plain = entry.read_bytes()
            kind = mimetypes.guess_type(entry.name)[0] or "application/octet-stream"
            yield f"{prefix}{entry.name}", _File(plain, gzip.compress(plain, mtime=0), kind)


def operations() -> Iterator[Operation]:
    """The operation for assets; the page itself is at `/` (`docs.index`)."""
    yield get(
        "/assets/{name}",
        asset,
        "getAsset",
        "A script, a style or an image of the dashboard; its name changes with its content",
        Answer(200, "The asset", {"type": "string"}, "application/octet-stream"),
        access="public",
        tag="dashboard",
        refusals=(404,),
    )
