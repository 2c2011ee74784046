"""Registration: the part of a service that says which foreign identities may register its instances."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from controlplane.model.base import Part
from controlplane.model.discovery import ObjectName
from controlplane.model.fields import DNS_NAME, AsList, Unique

AccountName = Annotated[str, Field(pattern=DNS_NAME, max_length=253)]
"""A name that Kubernetes accepts for service accounts."""


class ServiceAccount(Part):
    """A service account of Kubernetes. Equal ones are one."""

    namespace: Annotated[ObjectName, Field(description="Namespace of the service account.")]
    service_account: Annotated[AccountName, Field(description="Its name.")]

    def __str__(self) -> str:
        return f"{self.namespace}/{self.service_account}"


class Registration(Part):
    """Identities that may register instances, beside holders of the service's own credentials."""

    kubernetes: Annotated[
        tuple[ServiceAccount, ...],
        AsList,
        Field(
            max_length=64,
            description="Service accounts of Kubernetes whose pods may register instances with a projected token; "
            "empty: none (control planes with SERVICE_ACCOUNT_TOKENS).",
        ),
        Unique,
    ] = ()

    def allows(self, account: ServiceAccount) -> bool:
        """Whether pods of this account may register instances."""
        return account in self.kubernetes
