"""Resources that the control plane itself writes for the data planes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, ClassVar

from pydantic import Field

from controlplane.model.base import Resource
from controlplane.model.fields import Name
from controlplane.model.problems import Problem

Text = Annotated[str, Field(max_length=512)]


class VerificationKey(Resource):
    """The public part of a signing key, which verifies tokens of this issuer and audience."""

    KIND: ClassVar[str] = "verification_key"
    PLURAL: ClassVar[str] = "verification_keys"
    DOCUMENTS: ClassVar[bool] = False
    FOR_CALLERS: ClassVar[bool] = True

    kid: Annotated[str, Field(min_length=1, max_length=64)]
    jwk: Annotated[str, Field(min_length=2, max_length=8192, description="The public key, JSON (RFC 7517).")]
    issuer: Text
    audience: Text

    @property
    def name(self) -> str:
        """The key's id."""
        return self.kid


class Reset(Resource):
    """An operator's order to forget counters; done once per revision. Exactly one of the two targets is set."""

    KIND: ClassVar[str] = "reset"
    PLURAL: ClassVar[str] = "resets"
    DOCUMENTS: ClassVar[bool] = False

    id: Annotated[str, Field(min_length=1, max_length=128)]
    circuit: Annotated[Name | None, Field(description="Service whose breaker is reset.")] = None
    rate_limit: Annotated[Text | None, Field(description="Caller key whose buckets are refilled.")] = None

    @property
    def name(self) -> str:
        """The order's id, the same for every order with the same target."""
        return self.id

    @classmethod
    def rules(cls, fields: Mapping[str, object]) -> Iterable[Problem]:
        """One target."""
        if (fields.get("circuit") is None) == (fields.get("rate_limit") is None):
            yield Problem("", "must have exactly one of circuit and rate_limit")
