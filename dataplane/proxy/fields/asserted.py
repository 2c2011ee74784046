"""Request fields in which proxies name the client, or its address, to an instance. A client's own must not reach it.

An instance cannot tell who wrote such a field. So all of them are dropped, from every sender; Headgate then writes its
own X-Forwarded-For, -Proto, -Host and X-Auth-Subject, -Scopes. `STRIP_REQUEST_HEADERS` adds to the list.
docs/explanation/security.md has it for operators.

An entry that ends with "*" is a prefix. Entries are lower case with dashes; `names` compares every spelling with them
that a CGI or WSGI server would fold to the same variable (`X_Forwarded_User` is `X-Forwarded-User`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

ASSERTED: Final[Mapping[str, Sequence[bytes]]] = {
    "address of the client": (
        b"client-ip",
        b"true-client-ip",
        b"x-client-ip",
        b"x-real-ip",
        b"x-cluster-client-ip",
        b"x-proxyuser-ip",
        b"x-azure-clientip",
        b"x-azure-socketip",
        b"x-nf-client-connection-ip",
        b"x-appengine-*",
        b"x-remote-*",
        b"remote-*",
        b"cf-connecting-*",
        b"do-connecting-ip",
        b"fastly-client-ip",
        b"fly-client-ip",
        b"proxy-client-ip",
        b"wl-proxy-*",
        b"http-client-ip",
        b"x-originating-ip",
        b"x-trusted-ip",
        b"incap-client-ip",
        b"x-sucuri-clientip",
        b"x-vercel-forwarded-for",
        b"cloudfront-viewer-address",
        b"akamai-client-ip",
        b"ali-cdn-real-ip",
        b"cdn-src-ip",
        b"cf-pseudo-ipv4",
    ),
    "scheme, host or port that the client used": (
        b"x-forwarded",
        b"x-forwarded-*",
        b"forwarded-*",
        b"x-host",
        b"x-http-host-override",
        b"x-scheme",
        b"x-url-scheme",
        b"front-end-https",
        b"fastly-ssl",
        b"cf-visitor",
        b"cloudfront-forwarded-proto",
        b"x-arr-ssl",
    ),
    "a target other than the routed one": (
        b"x-original-*",
        b"x-rewrite-url",
        b"x-middleware-subrequest",
        b"x-envoy-*",
    ),
    "the authenticated user": (
        b"x-auth-*",
        b"x-authenticated-*",
        b"x-webauth-*",
        b"x-authentik-*",
        b"x-pomerium-*",
        b"x-vouch-*",
        b"x-user",
        b"x-username",
        b"x-user-id",
        b"x-user-name",
        b"x-user-email",
        b"x-user-groups",
        b"x-user-roles",
        b"x-userinfo",
        b"x-groups",
        b"x-roles",
        b"impersonate-*",
        b"sec-istio-*",
        b"x-kubernetes-*",
        b"x-jwt-payload",
        b"x-id-token",
        b"x-jwt-assertion",
        b"x-endpoint-api-userinfo",
        b"x-apigateway-api-userinfo",
        b"tailscale-*",
        b"x-consumer-*",
        b"x-credential-*",
        b"x-anonymous-consumer",
        b"x-amzn-oidc-*",
        b"x-goog-authenticated-user-*",
        b"x-goog-iap-*",
        b"x-ms-client-principal",
        b"x-ms-client-principal-*",
        b"cf-access-*",
        b"oidc-*",
        b"mellon-*",
        b"shib-*",
    ),
    "the client's certificate": (
        b"client-cert",
        b"client-cert-chain",
        b"ssl-client-*",
        b"x-ssl-*",
        b"x-client-cert*",
        b"x-client-dn",
        b"x-client-subject*",
        b"x-client-verify",
        b"x-arr-clientcert",
        b"x-amzn-mtls-*",
        b"x-tls-client-*",
        b"l5d-*",
    ),
    "variables of CGI": (
        # Becomes HTTP_PROXY (CVE-2016-5385).
        b"proxy",
    ),
}

CREDENTIALS: Final = (b"x-auth-token", b"x-auth-key")
"""Under a prefix above, but secrets that the instance checks itself: they travel on."""


def split(entries: Sequence[bytes]) -> tuple[frozenset[bytes], tuple[bytes, ...]]:
    """Whole names, and prefixes without their "*"."""
    names = frozenset(entry for entry in entries if not entry.endswith(b"*"))
    return names, tuple(entry[:-1] for entry in entries if entry.endswith(b"*"))
