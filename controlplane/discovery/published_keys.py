"""Reads the keys of service-account tokens from the API server, which publishes them for verifiers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from controlplane.discovery.kubernetes_api import ApiUnavailable, Gone, KubernetesApi
from controlplane.identity import KeysUnavailable, issuer_of

PATH = "/openid/v1/jwks"
MEDIA_TYPE = "application/jwk-set+json"
"""The API server answers 406 to requests for application/json."""
MOST_BYTES = 256 << 10

_NO_ISSUER = "the issuer of the cluster's tokens is not known: set SERVICE_ACCOUNT_ISSUERS"


def published_keys(
    api: KubernetesApi, issuers: tuple[str, ...] = ()
) -> Callable[[], Awaitable[tuple[bytes, str]]]:
    """A function that reads the JWK set, and the issuer of the control plane's own token.

    That issuer is the cluster's, and must be known unless `issuers` are configured. The function raises
    KeysUnavailable.
    """

    async def fetch() -> tuple[bytes, str]:
        try:
            issuer = issuer_of(api.token())
            if not issuer and not issuers:
                raise KeysUnavailable(_NO_ISSUER)
            return await api.get(PATH, MEDIA_TYPE, MOST_BYTES), issuer
        except Gone:
            raise KeysUnavailable("the API server answers with an error (410)") from None
        except ApiUnavailable as error:
            raise KeysUnavailable(str(error)) from None

    return fetch
