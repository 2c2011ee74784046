"""Bodies of requests: bounded while they are read, then decoded by their media type."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from urllib.parse import parse_qsl

from starlette.requests import Request

from controlplane import aside
from controlplane.api.documents import MalformedDocument, parse_json, parse_yaml
from controlplane.api.problems import HttpError

MOST_BYTES = 10 * 1024 * 1024
MOST_FORM_BYTES = 64 * 1024
MOST_LOGIN_BYTES = 8 * 1024
"""Of a request that anybody may send: it must not keep the thread of changes busy."""
WITHIN = 30.0
"""Seconds within which the whole body has to arrive."""

FORM = "application/x-www-form-urlencoded"
JSON_TYPES = ("application/json", "text/json")
MERGE_PATCH = "application/merge-patch+json"
PATCH_TYPES = (MERGE_PATCH, "application/json", "application/yaml")
"""Media types of a patch. All of them mean a merge patch."""
ACCEPT_PATCH = {"Accept-Patch": ", ".join(PATCH_TYPES)}
"""RFC 5789 §3.1."""
YAML_TYPES = ("application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml", "text/vnd.yaml")


async def read(request: Request, most: int = MOST_BYTES) -> bytes:
    """The whole body. HttpError 413 once it is known to be longer than `most` bytes, 408 when it takes too long, 415
    for a compressed body: its length does not bound the decompressed size."""
    if (coding := request.headers.get("content-encoding", "identity").strip().lower()) not in (
        "",
        "identity",
    ):
        raise HttpError(
            415,
            f"Content-Encoding {coding[:40]} is not supported: send the body unencoded",
            headers={"Accept-Encoding": "identity", "Connection": "close"},
        )
    too_long = HttpError(413, f"The body is longer than {most} bytes", headers={"Connection": "close"})
    announced = request.headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > most:
        raise too_long
    body = bytearray()
    try:
        async with asyncio.timeout(WITHIN):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most:
                    raise too_long
    except TimeoutError:
        detail = f"The body did not arrive within {WITHIN:g} s"
        raise HttpError(408, detail, headers={"Connection": "close"}) from None
    return bytes(body)


async def document(request: Request, most: int = MOST_BYTES) -> Mapping[str, object]:
    """The body as one JSON or YAML object; HttpError 400 with the place of an error, 413, 415."""
    kind = media_type(request)
    if kind in JSON_TYPES or kind.endswith("+json"):
        language, parse = "JSON", parse_json
    elif kind in YAML_TYPES or kind.endswith("+yaml"):
        language, parse = "YAML", parse_yaml
    else:
        raise HttpError(
            415,
            f"Content-Type {kind or 'is missing'}: send application/json or application/yaml",
            headers={"Accept": "application/json, application/yaml"},
        )
    text = _utf8(await read(request, most))
    try:
        # A large document takes seconds: other requests and the config streams go on meanwhile.
        value = parse(text) if len(text) < 20_000 else await aside.change(partial(parse, text))
    except MalformedDocument as error:
        raise HttpError(400, f"The body is not {language}: {error}") from None
    if not isinstance(value, dict):
        raise HttpError(400, f"The body must be one {language} object")
    return value


async def merge_patch(request: Request) -> Mapping[str, object]:
    """The body as a merge patch (RFC 7396); HttpError as for `document`, 415 for any other form of a patch."""
    kind = media_type(request)
    if kind not in (MERGE_PATCH, *JSON_TYPES, *YAML_TYPES):
        raise HttpError(
            415,
            f"Content-Type {kind or 'is missing'}: send {MERGE_PATCH} (RFC 7396), as JSON or YAML",
            headers=ACCEPT_PATCH,
        )
    return await document(request)


async def form(request: Request) -> Mapping[str, str]:
    """The body as a form; HttpError 400 for a field that is given twice (RFC 6749 §3.2), 413, 415."""
    if media_type(request) != FORM:
        raise HttpError(415, f"Send {FORM}", headers={"Accept": FORM})
    text = _utf8(await read(request, MOST_FORM_BYTES))
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=100)
    except ValueError:
        raise HttpError(400, "The form cannot be read") from None
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise HttpError(400, "A form field is given twice")
    return fields


def media_type(request: Request) -> str:
    """The media type of the body in lower case, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _utf8(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise HttpError(400, f"The body is not UTF-8: byte {error.start}") from None
