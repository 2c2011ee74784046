"""Requests of scripts from other origins (Fetch standard, CORS), and lists of client addresses."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_network
from typing import Annotated, Final

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from controlplane.model.base import Part
from controlplane.model.expressions import Expression
from controlplane.model.fields import METHODS, AsList, Unique, pattern
from controlplane.model.problems import Problem

ANY: Final = "*"
_ORIGIN: Final = pattern(
    r"^(\*|[a-z][a-z0-9+.-]{0,31}://(\*\.)?[a-z0-9._:\[\]-]{1,253})$",
    "* or an origin in lower case, like https://www.example.org or https://*.example.org, without a path",
)
_HEADERS: Final = pattern(
    r"^(\*|[a-z0-9!#$%&'+.^_`|~-]{1,64})$", "* or the name of a header field in lower case, like x-client"
)


def _check_method(text: str) -> str:
    if text != ANY and text not in METHODS:
        raise PydanticCustomError("text", "must be * or a method that the gateway serves")
    return text


def _check_network(text: str) -> str:
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise PydanticCustomError("text", "must be an IP address or a network like 10.0.0.0/8") from None
    if text not in (str(network), str(network.network_address)):
        raise PydanticCustomError("text", "must be written {right}", {"right": str(network)})
    return text


Network = Annotated[str, Field(max_length=64), AfterValidator(_check_network)]
Origin = Annotated[str, Field(pattern=_ORIGIN)]
CorsMethod = Annotated[str, Field(max_length=32), AfterValidator(_check_method)]
CorsHeader = Annotated[str, Field(pattern=_HEADERS)]


class Cors(Part):
    """Scripts of which origins may use the route, and how."""

    allow_origins: Annotated[
        tuple[Origin, ...],
        AsList,
        Field(
            max_length=64,
            description="Origins; https://*.example.org covers all names below; * is every origin.",
        ),
        Unique,
    ] = ()
    allow_origin_regex: Annotated[
        tuple[Expression, ...],
        AsList,
        Field(max_length=16, description="Regular expressions (RE2) that match whole origins."),
        Unique,
    ] = ()
    allow_methods: Annotated[
        tuple[CorsMethod, ...],
        AsList,
        Field(max_length=32, description="Methods; * is every method."),
        Unique,
    ] = ("GET", "HEAD", "POST")
    allow_headers: Annotated[
        tuple[CorsHeader, ...],
        AsList,
        Field(max_length=64, description="Header fields that scripts may send; * is every field."),
        Unique,
    ] = ()
    expose_headers: Annotated[
        tuple[CorsHeader, ...],
        AsList,
        Field(max_length=64, description="Header fields of responses that scripts may read."),
        Unique,
    ] = ()
    allow_credentials: Annotated[
        bool, Field(description="Scripts may send cookies, and read the responses.")
    ] = False
    max_age: Annotated[
        int, Field(ge=0, le=86_400, description="Seconds for which browsers keep the answer to a preflight.")
    ] = 5

    def warnings(self) -> Iterable[Problem]:
        """Every site may act as the user."""
        if self.allow_credentials and ANY in self.allow_origins:
            yield Problem(
                "cors.allow_credentials", "lets scripts of every origin act with the cookies of the user"
            )
