"""Compression of responses on their way to the client."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from controlplane.model.base import Part
from controlplane.model.fields import AsList, Unique, pattern

_MEDIA_TYPE: Final = pattern(
    r"^[a-z0-9!#$&^_.+-]{1,64}/([a-z0-9!#$&^_.+-]{1,64}|\*)$",
    "a media type in lower case without parameters, like application/json or text/*",
)
_WRITTEN_IN_PIECES: Final = ("text/event-stream", "application/grpc")


def _check_media_type(text: str) -> str:
    if text.startswith(_WRITTEN_IN_PIECES):
        raise PydanticCustomError("text", "is never compressed: its messages must not wait for one another")
    return text


Coding = Literal["zstd", "br", "gzip"]
MediaType = Annotated[str, Field(pattern=_MEDIA_TYPE), AfterValidator(_check_media_type)]


class Compression(Part):
    """The responses that are compressed for clients that accept it."""

    encodings: Annotated[
        tuple[Coding, ...],
        AsList,
        Field(
            min_length=1,
            max_length=3,
            description="Content codings. Of several that the client likes equally well, the first is used.",
        ),
        Unique,
    ] = ("zstd", "br", "gzip")
    media_types: Annotated[
        tuple[MediaType, ...],
        AsList,
        Field(
            min_length=1,
            max_length=64,
            description="Media types that are compressed; text/* is every text. Streams of events and gRPC never are.",
        ),
        Unique,
    ] = (
        "text/*",
        "application/javascript",
        "application/json",
        "application/problem+json",
        "application/xml",
        "image/svg+xml",
    )
    min_bytes: Annotated[
        int, Field(ge=0, le=2**30, description="Smaller bodies stay as they are, if their length is known.")
    ] = 1024
