"""Access: scopes, users, issuers."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field, SecretStr
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticCustomError

from controlplane.model.base import IGNORABLE, Added, Resource
from controlplane.model.fields import (
    AsList,
    Name,
    ScopeName,
    Unique,
    Username,
)
from controlplane.model.problems import Problem

ADMIN = "gateway:admin"
"""The scope for changing the configuration."""
READ = "gateway:read"
"""The scope for reading the configuration; ADMIN implies it."""
TAP = "gateway:tap"
"""The scope for looking at requests as they happen; nothing implies it."""

_PHC = re.compile(
    r"\$argon2id\$v=19\$m=(\d{1,7}),t=(\d{1,3}),p=(\d{1,3})\$[A-Za-z0-9+/]{11,86}\$[A-Za-z0-9+/]{16,172}"
)
_MOST_MEMORY, _MOST_TIME, _MOST_LANES = 1 << 18, 10, 16


def _password(secret: SecretStr) -> SecretStr:
    if not 8 <= len(secret) <= 128:
        raise PydanticCustomError("password", "must have 8 to 128 characters")
    return secret


def _password_hash(secret: SecretStr) -> SecretStr:
    found = _PHC.fullmatch(secret.get_secret_value())
    if not found:
        raise PydanticCustomError(
            "phc", "must be an argon2id hash in PHC form, like $argon2id$v=19$m=65536,t=3,p=4$…"
        )
    memory, time, lanes = map(int, found.groups())
    # The parameters of an imported hash decide what each login costs.
    if not (8 * lanes <= memory <= _MOST_MEMORY and 1 <= time <= _MOST_TIME and 1 <= lanes <= _MOST_LANES):
        raise PydanticCustomError(
            "phc", "must have m of at most 262144 (256 MiB), t of at most 10, p of at most 16"
        )
    return secret


class Scope(Resource):
    """A right that routes require and users hold."""

    KIND: ClassVar[str] = "scope"
    PLURAL: ClassVar[str] = "scopes"
    DATA_PLANES: ClassVar[bool] = False
    """Only the scopes that routes and users name have an effect."""
    EXAMPLE: ClassVar[Mapping[str, Any]] = {"name": "orders:read", "description": "Look at orders"}

    name: ScopeName


class User(Resource):
    """A user who can get tokens. A password is hashed before it is stored; neither is ever shown."""

    KIND: ClassVar[str] = "user"
    PLURAL: ClassVar[str] = "users"
    NAMED_BY: ClassVar[str] = "username"
    REFERENCES: ClassVar[Mapping[str, str]] = {"scopes[]": "scope"}
    FOR_CALLERS: ClassVar[bool] = True
    EXAMPLE: ClassVar[Mapping[str, Any]] = {
        "username": "jo",
        "password": "correct horse battery",
        "scopes": ["orders:read"],
    }
    # A data plane that ignores it accepts a token until it expires. If the user were withheld from it, it would do the
    # same, and would also miss that the user was disabled.
    ADDED: ClassVar[Mapping[str, Added]] = {"credentials": IGNORABLE}

    username: Username
    password: Annotated[
        SecretStr | None,
        AfterValidator(lambda secret: None if secret is None else _password(secret)),
        Field(
            exclude=True,
            json_schema_extra={"writeOnly": True, "minLength": 8, "maxLength": 128},
            description="If left out, the stored password stays; a new user without a password cannot log in.",
        ),
    ] = None
    password_hash: Annotated[
        SecretStr | None,
        AfterValidator(lambda secret: None if secret is None else _password_hash(secret)),
        Field(
            json_schema_extra={"writeOnly": True, "maxLength": 512},
            description="argon2id hash in PHC form, in place of the password.",
        ),
    ] = None
    scopes: Annotated[
        tuple[ScopeName, ...], AsList, Field(max_length=64, description="Scopes that the user holds."), Unique
    ] = ()
    disabled: Annotated[
        bool, Field(description="The user gets no tokens, and existing tokens are refused.")
    ] = False
    generation: Annotated[SkipJsonSchema[int], Field(ge=0, exclude=True)] = 0
    """The number of times the user was disabled: kept by the control plane; documents cannot set it."""
    credentials_id: Annotated[SkipJsonSchema[str | None], Field(exclude=True)] = None
    """Never stored: the value of `credentials` after the hash was removed."""

    @property
    def name(self) -> str:
        """The user's own name."""
        return self.username

    @property
    def credentials(self) -> str:
        """Differs after every change of password and every disabling; tokens carry it and end with it.

        The salt within the hash has 128 random bits: passwords cannot be tested against this.
        """
        if self.credentials_id is not None:
            return self.credentials_id
        secret = self.password_hash.get_secret_value() if self.password_hash else ""
        return hashlib.sha256(f"{self.generation} {secret}".encode()).hexdigest()[:16]

    @classmethod
    def rules(cls, fields: Mapping[str, object]) -> Iterable[Problem]:
        """A password or its hash."""
        if fields.get("password") is not None and fields.get("password_hash") is not None:
            yield Problem("password_hash", "must not be given together with password")


class Issuer(Resource):
    """An outside issuer of tokens. Announced, not built yet: every one is refused."""

    KIND: ClassVar[str] = "issuer"
    PLURAL: ClassVar[str] = "issuers"
    NAMED_BY: ClassVar[str] = "issuer"
    DATA_PLANES: ClassVar[bool] = False

    issuer: Name

    @property
    def name(self) -> str:
        """The issuer's name."""
        return self.issuer
