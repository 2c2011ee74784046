"""Service-account tokens: which are accepted, and what is said of the others."""

from __future__ import annotations

import base64
import hmac
import json
import random
from typing import Any

import pytest
from joserfc import jwt

from controlplane.identity.account_tokens import (
    LONGEST,
    MOST_KEYS,
    AccountClaims,
    Expected,
    RefusedToken,
    UnusableKeys,
    is_account_token,
    issuer_of,
    read,
    read_keys,
)
from tests.support.service_accounts import ISSUER, Cluster, elliptic, rsa

NOW = 1_800_000_000.0
EXPECTED = Expected((ISSUER,), "headgate")


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    return Cluster()


def verify(cluster: Cluster, token: str, now: float = NOW, expected: Expected = EXPECTED) -> AccountClaims:
    unproven = read(token.encode())
    unproven.check(expected, now)
    return unproven.prove(read_keys(cluster.jwks()))


def refusal(cluster: Cluster, token: str, now: float = NOW) -> str:
    with pytest.raises(RefusedToken) as refused:
        verify(cluster, token, now)
    assert not any(len(part) > 20 and part in str(refused.value) for part in token.split("."))
    return str(refused.value)


def encoded(value: object) -> str:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def test_a_projected_token(cluster: Cluster) -> None:
    claims = verify(cluster, cluster.token("shop/stock", now=NOW))
    assert str(claims.account) == "shop/stock"
    assert claims.expires == NOW + 3600
    # A name of a service account may have dots.
    assert str(verify(cluster, cluster.token("shop/stock.v2", now=NOW)).account) == "shop/stock.v2"


def test_a_key_on_a_curve() -> None:
    cluster = Cluster(keys=[rsa("old"), elliptic("new")])
    assert str(verify(cluster, cluster.token(now=NOW)).account) == "shop/stock"


def test_one_of_several_audiences_and_issuers(cluster: Cluster) -> None:
    several = Expected(("https://new.example", ISSUER), "headgate")
    token = cluster.token(now=NOW, aud=["vault", "headgate"])
    assert verify(cluster, token, expected=several).expires == NOW + 3600
    assert verify(cluster, cluster.token(now=NOW, aud="headgate")).expires == NOW + 3600


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        (
            {"aud": ["https://kubernetes.default.svc"]},
            "'https://kubernetes.default.svc', expected 'headgate'",
        ),
        ({"aud": None}, "the token's audience is missing, expected 'headgate'"),
        ({"aud": [["headgate"]]}, "the token's audience is missing"),
        ({"aud": [f"a{n}" for n in range(9)]}, "'a0', 'a1', 'a2' and 6 more, expected"),
        ({"iss": "https://other.example"}, f"is 'https://other.example', expected '{ISSUER}'"),
        ({"iss": "x" * 3000}, "xxx..."),
        ({"iss": None}, "the token has no issuer (iss)"),
        ({"iss": "a\nb\x1b"}, r"'a\nb\x1b'"),
        ({"exp": NOW - 30}, "the token expired 30 s ago"),
        ({"exp": NOW}, "the token expired 0 s ago"),
        ({"exp": None}, "the token has no time in exp"),
        ({"exp": "soon"}, "the token has no time in exp"),
        ({"exp": True}, "the token has no time in exp"),
        ({"exp": 10**400}, "the token has no time in exp"),
        ({"nbf": NOW + 90}, "the token is not valid for another 90 s"),
        ({"nbf": []}, "the token has no time in nbf"),
        ({"sub": "ann"}, "the token's subject is 'ann', which is not a service account"),
        ({"sub": "system:serviceaccount:shop"}, "which is not a service account"),
        ({"sub": "system:serviceaccount::stock"}, "which is not a service account"),
        ({"sub": "system:serviceaccount:shop:a:b"}, "which is not a service account"),
        ({"sub": "system:serviceaccount:shop/a:b"}, "which is not a service account"),
        ({"sub": None}, "the token has no subject (sub)"),
    ],
)
def test_claims_that_are_refused(cluster: Cluster, claims: dict[str, Any], said: str) -> None:
    found = refusal(cluster, cluster.token(now=NOW, **claims))
    assert said in found
    assert len(found) < 500
    assert found.isprintable() and found.isascii()


def test_a_clock_that_is_a_little_ahead(cluster: Cluster) -> None:
    assert verify(cluster, cluster.token(now=NOW + 50)).expires == NOW + 3650


@pytest.mark.parametrize("algorithm", ["none", "HS256", "RS512", "PS256", "", None, 7, ["RS256"]])
def test_other_algorithms(cluster: Cluster, algorithm: object) -> None:
    _, claims, signature = cluster.token(now=NOW).split(".")
    header = encoded({"alg": algorithm, "kid": "one"})
    assert "expected RS256 or ES256" in refusal(cluster, f"{header}.{claims}.{signature}")


def test_the_public_key_is_no_shared_secret(cluster: Cluster) -> None:
    """An HS256 signature with the bytes of the public key, under the name of its algorithm and of the other one."""
    (key,) = cluster.keys
    _, claims, _ = cluster.token(now=NOW).split(".")
    for algorithm in ("HS256", "RS256", "ES256"):
        signed = f"{encoded({'alg': algorithm, 'kid': 'one'})}.{claims}"
        forged = hmac.digest(key.as_pem(private=False), signed.encode(), "sha256")
        refusal(cluster, f"{signed}.{encoded(forged)}")


def test_a_signature_of_another_key(cluster: Cluster) -> None:
    stranger = Cluster(keys=[rsa("one")])
    assert "signature is not that of the cluster's key" in refusal(cluster, stranger.token(now=NOW))
    assert "the key 'two', which the cluster does not have" in refusal(
        cluster, Cluster(keys=[rsa("two")]).token(now=NOW)
    )


def test_each_key_has_one_algorithm() -> None:
    cluster = Cluster(keys=[rsa("one")])
    token = cluster.token(now=NOW)
    cluster.keys = [elliptic("one")]
    assert "algorithm is 'RS256', but that of its key is ES256" in refusal(cluster, token)


def test_extensions_that_must_be_understood(cluster: Cluster) -> None:
    _, claims, signature = cluster.token(now=NOW).split(".")
    header = encoded({"alg": "RS256", "kid": "one", "b64": False, "crit": ["b64"]})
    assert "(crit)" in refusal(cluster, f"{header}.{claims}.{signature}")


@pytest.mark.parametrize("where", [0, 1, 2])
def test_any_changed_part(cluster: Cluster, where: int) -> None:
    parts = cluster.token(now=NOW).split(".")
    middle = len(parts[where]) // 2
    for other in "AZaz09-_":
        if parts[where][middle] == other:
            continue
        changed = [*parts]
        changed[where] = parts[where][:middle] + other + parts[where][middle + 1 :]
        with pytest.raises(RefusedToken):
            verify(cluster, ".".join(changed))


@pytest.mark.parametrize(
    "token",
    [
        "",
        "..",
        "a.b",
        "a.b.c",
        "a.b.c.d",
        f"{encoded([])}.{encoded({})}.",
        f"{encoded(b'[' * 6000)}.e30.",
        "é.e30.x",
    ],
)
def test_what_is_no_token(cluster: Cluster, token: str) -> None:
    assert refusal(cluster, token) in (
        "the token is not a signed JWT",
        "the token has 8006 bytes; at most 8192 are allowed",
    )
    assert not is_account_token(token.encode())
    assert issuer_of(token.encode()) == ""


def test_a_token_that_is_too_long(cluster: Cluster) -> None:
    token = cluster.token(now=NOW, padding="x" * LONGEST)
    assert "at most 8192 are allowed" in refusal(cluster, token)
    assert not is_account_token(token.encode())


def test_random_bytes_are_refused(cluster: Cluster) -> None:
    chance = random.Random(14)
    good = cluster.token(now=NOW).encode()
    for _ in range(300):
        token = bytearray(good)
        for _ in range(chance.randint(1, 8)):
            token[chance.randrange(len(token))] = chance.randrange(256)
        is_account_token(bytes(token))
        with pytest.raises(RefusedToken):
            if bytes(token) == good:
                raise RefusedToken
            unproven = read(bytes(token))
            unproven.check(EXPECTED, NOW)
            unproven.prove(read_keys(cluster.jwks()))


def test_which_tokens_are_of_accounts(cluster: Cluster) -> None:
    token = cluster.token(now=NOW)
    assert is_account_token(token.encode())
    assert issuer_of(token.encode()) == ISSUER
    assert not is_account_token(cluster.token(now=NOW, sub="ann").encode())
    assert not is_account_token(cluster.token(now=NOW, sub=None).encode())


# Key sets


def test_keys_of_other_kinds_are_left_out() -> None:
    good = rsa("good").as_dict(private=False)
    jwks = {
        "keys": [
            good,
            {**good, "kid": "encryption", "use": "enc"},
            {**good, "kid": "other algorithm", "alg": "RS512"},
            {**good, "kid": "broken", "n": 5},
            {**good, "kid": ["unhashable"]},
            {**good, "kty": ["RSA"], "kid": "odd"},
            {"kty": "oct", "k": "c2VjcmV0", "kid": "secret"},
            elliptic("big", "P-384").as_dict(private=False),
            {**good, "kid": "weak", "n": encoded(b"\xf1" * 128)},
            "no key",
            {name: value for name, value in good.items() if name != "kid"},
        ]
    }
    assert set(read_keys(json.dumps(jwks).encode()).keys) == {"good"}


def test_private_parts_are_not_kept() -> None:
    jwks = json.dumps({"keys": [rsa("one").as_dict(private=True)]})
    assert not read_keys(jwks.encode()).keys["one"].public.is_private


def test_the_number_of_keys_is_bounded() -> None:
    one = rsa("one").as_dict(private=False)
    jwks = {"keys": [{**one, "kid": str(number)} for number in range(MOST_KEYS + 5)]}
    assert len(read_keys(json.dumps(jwks).encode()).keys) == MOST_KEYS


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"keys": {}}', b'{"keys": []}', b"[" * 9000, b'{"keys": 5}']
)
def test_what_is_no_key_set(body: bytes) -> None:
    with pytest.raises(UnusableKeys):
        read_keys(body)


def test_jwt_of_another_issuer_with_our_header_is_read_the_same(cluster: Cluster) -> None:
    (key,) = cluster.keys
    token = jwt.encode({"alg": "RS256", "kid": "one", "typ": "JWT"}, {"sub": "x"}, key, algorithms=["RS256"])
    assert "no issuer" in refusal(cluster, token)
