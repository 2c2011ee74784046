"""Tokens: what they say, who believes them, and everything that must not be believed."""

from __future__ import annotations

import base64
import hmac
import json
import shutil
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import RSAKey

from controlplane.identity import Claims, InvalidScope, InvalidToken, KeyRing, TokenIssuer
from controlplane.model.resources import User

NOW = 1_700_000_000


class Clock:
    """Unix seconds, as the test sets them."""

    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def issuer(ring: KeyRing, clock: Clock) -> TokenIssuer:
    return TokenIssuer(ring, clock)


USER = User(username="testuser", scopes=("orders:read", "orders:write"))


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    header, claims, _ = (
        json.loads(_decode(part)) if index < 2 else {} for index, part in enumerate(token.split("."))
    )
    return header, claims


def _decode(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _encode(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).decode().rstrip("=")


def test_an_access_token_says_what_was_granted(issuer: TokenIssuer, ring: KeyRing) -> None:
    tokens = issuer.issue(USER)
    header, claims = parts(tokens.access_token)
    assert header == {"typ": "at+jwt", "alg": "RS256", "kid": ring.newest.kid}
    jti = claims.pop("jti")
    assert len(jti) == 16
    assert claims == {
        "iss": "headgate",
        "sub": "testuser",
        "aud": "headgate",
        "exp": NOW + 900,
        "iat": NOW,
        "scope": "orders:read orders:write",
        "scopes": ["orders:read", "orders:write"],
        "client_id": "testuser",
        "cred": USER.credentials,
    }
    assert (tokens.expires_in, tokens.scope) == (900, "orders:read orders:write")
    assert issuer.verify(tokens.access_token) == Claims(
        "testuser",
        frozenset({"orders:read", "orders:write"}),
        NOW + 900,
        USER.credentials,
        id=jti,
        issued=NOW,
    )


def test_it_is_verified_with_the_public_key_alone(issuer: TokenIssuer) -> None:
    (jwk,) = issuer.jwks()["keys"]
    found = jwt.decode(issuer.issue(USER).access_token, RSAKey.import_key(dict(jwk)), algorithms=["RS256"])
    assert found.claims["sub"] == "testuser"


@pytest.mark.skipif(not shutil.which("base64"), reason="the guide's command is not there")
def test_the_guide_s_command_prints_the_header(issuer: TokenIssuer, ring: KeyRing) -> None:
    """`echo -n $TOKEN | base64 -d | jq`: base64 stops at the first dot, with an error that jq does not see."""
    for _ in range(5):
        token = issuer.issue(USER).access_token
        command = f"echo -n {token} | base64 -d" + (" | jq -c" if shutil.which("jq") else "")
        run = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
        assert json.loads(run.stdout) == {"typ": "at+jwt", "alg": "RS256", "kid": ring.newest.kid}
        assert "jq" not in run.stderr, "nothing follows that jq complains about"


def test_the_header_is_plain_base64(issuer: TokenIssuer) -> None:
    for _ in range(20):
        header = issuer.issue(USER).access_token.split(".")[0]
        assert len(header) % 4 == 0
        assert not set(header) & set("-_")


def test_every_token_is_another_one(issuer: TokenIssuer) -> None:
    assert len({issuer.issue(USER).access_token for _ in range(5)}) == 5


def test_fewer_scopes_may_be_asked_for(issuer: TokenIssuer) -> None:
    tokens = issuer.issue(USER, " orders:write  orders:write ")
    assert tokens.scope == "orders:write"
    assert issuer.verify(tokens.access_token).scopes == {"orders:write"}
    for everything in (None, "", "  "):
        assert issuer.issue(USER, everything).scope == "orders:read orders:write"


@pytest.mark.parametrize("scope", ["payments:write", "orders:read payments:write", "ORDERS:READ", "\x00"])
def test_scopes_that_are_not_held_are_refused(issuer: TokenIssuer, scope: str) -> None:
    with pytest.raises(InvalidScope):
        issuer.issue(USER, scope)


def test_a_token_that_data_planes_would_not_read_is_not_issued(issuer: TokenIssuer) -> None:
    many = User(username="u", scopes=tuple(f"{'x' * 58}{number:04}" for number in range(64)))
    with pytest.raises(InvalidScope, match="too long"):
        issuer.issue(many)
    assert issuer.issue(many, many.scopes[0]).scope == many.scopes[0]


def test_a_token_expires_on_the_second(issuer: TokenIssuer, clock: Clock) -> None:
    token = issuer.issue(USER).access_token
    clock.now = NOW + 899.9
    issuer.verify(token)
    clock.now = NOW + 900
    with pytest.raises(InvalidToken):
        issuer.verify(token)


def test_the_clock_of_another_control_plane_may_be_a_little_ahead(issuer: TokenIssuer, clock: Clock) -> None:
    token = issuer.issue(USER).access_token
    clock.now = NOW - 59
    issuer.verify(token)
    clock.now = NOW - 61
    with pytest.raises(InvalidToken):
        issuer.verify(token)


def test_a_refresh_token_is_no_access_token_and_the_other_way_round(issuer: TokenIssuer) -> None:
    tokens = issuer.begin_family(USER)
    assert tokens.refresh_token is not None
    assert issuer.verify_refresh(tokens.refresh_token).expires == NOW + 86_400
    header, claims = parts(tokens.refresh_token)
    assert header["typ"] != "at+jwt"
    assert claims["aud"] != "headgate", "data planes look at the audience"
    with pytest.raises(InvalidToken):
        issuer.verify(tokens.refresh_token)
    with pytest.raises(InvalidToken):
        issuer.verify_refresh(tokens.access_token)


def test_refresh_tokens_may_be_left_out_and_nothing_is_printed(issuer: TokenIssuer) -> None:
    assert issuer.issue(USER).refresh_token is None
    tokens = issuer.begin_family(USER)
    assert tokens.access_token not in repr(tokens)
    assert str(tokens.refresh_token) not in repr(tokens)


CLAIMS = {
    "iss": "headgate",
    "sub": "testuser",
    "aud": "headgate",
    "exp": NOW + 900,
    "iat": NOW,
    "scope": "",
    "scopes": [],
}


def signed(ring: KeyRing, claims: dict[str, Any], **header: Any) -> str:
    full = {"alg": "RS256", "typ": "at+jwt", "kid": ring.newest.kid, **header}
    kept = {name: value for name, value in full.items() if value is not None}
    return jwt.encode(kept, claims, ring.newest.pair, algorithms=["RS256"], default_type=None)


def test_the_forger_s_tool_makes_good_tokens_too(issuer: TokenIssuer, ring: KeyRing) -> None:
    assert issuer.verify(signed(ring, CLAIMS)).subject == "testuser"


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "else"},
        {"iss": None},
        {"aud": "else"},
        {"aud": ["headgate"]},
        {"sub": None},
        {"sub": 7},
        {"exp": NOW},
        {"exp": str(NOW + 900)},
        {"exp": None},
        {"iat": NOW + 100},
        {"iat": None},
        {"scopes": "orders:read"},
        {"scopes": None},
    ],
)
def test_claims_that_do_not_fit(issuer: TokenIssuer, ring: KeyRing, changed: dict[str, Any]) -> None:
    claims = {name: value for name, value in {**CLAIMS, **changed}.items() if value is not None}
    with pytest.raises(InvalidToken):
        issuer.verify(signed(ring, claims))


@pytest.mark.parametrize(
    "header", [{"typ": "JWT"}, {"typ": None}, {"kid": "x"}, {"kid": None}, {"typ": "rt+jwt"}]
)
def test_headers_that_do_not_fit(issuer: TokenIssuer, ring: KeyRing, header: dict[str, Any]) -> None:
    with pytest.raises(InvalidToken):
        issuer.verify(signed(ring, CLAIMS, **header))


def _flip(token: str) -> str:
    head, body, signature = token.split(".")
    return f"{head}.{body}.{'B' if signature[0] != 'B' else 'C'}{signature[1:]}"


def _other_claims(token: str) -> str:
    head, body, signature = token.split(".")
    claims = {**json.loads(_decode(body)), "sub": "admin"}
    return f"{head}.{_encode(json.dumps(claims).encode())}.{signature}"


def _without_signature(token: str) -> str:
    header = _encode(b'{"alg":"none","typ":"at+jwt"}')
    return f"{header}.{token.split('.')[1]}."


FORGERIES: list[Callable[[str], str]] = [
    _flip,
    _other_claims,
    _without_signature,
    lambda token: token[:-1],
    lambda token: token + "A",
    lambda token: token + ".A",
    lambda token: token.rsplit(".", 1)[0],
    lambda token: token.replace(".", ""),
    lambda token: f" {token}",
    lambda token: f"{token}\n",
    lambda _: "",
    lambda _: "...",
    lambda _: "é.é.é",
    lambda _: "\ud800",
    lambda _: "A" * 10_000,
    lambda _: base64.urlsafe_b64encode(b"[" * 3000).decode() + ".e30.e30",
]


@pytest.mark.parametrize("forge", FORGERIES)
def test_forgeries(issuer: TokenIssuer, forge: Callable[[str], str]) -> None:
    with pytest.raises(InvalidToken):
        issuer.verify(forge(issuer.issue(USER).access_token))


def test_a_token_of_another_key(issuer: TokenIssuer, ring: KeyRing, other_ring: KeyRing) -> None:
    with pytest.raises(InvalidToken):
        issuer.verify(signed(other_ring, CLAIMS))
    with pytest.raises(InvalidToken):
        issuer.verify(signed(other_ring, CLAIMS, kid=ring.newest.kid))


def test_a_token_signed_with_the_public_key_as_a_secret(issuer: TokenIssuer, ring: KeyRing) -> None:
    """The classic confusion of RS256 and HS256 (RFC 8725, 2.1)."""
    header = {"alg": "HS256", "typ": "at+jwt", "kid": ring.newest.kid}
    signed_part = f"{_encode(json.dumps(header).encode())}.{_encode(json.dumps(CLAIMS).encode())}"
    for secret in (ring.newest.pair.as_pem(private=False), json.dumps(ring.jwks()["keys"][0]).encode()):
        signature = hmac.digest(secret, signed_part.encode(), "sha256")
        with pytest.raises(InvalidToken):
            issuer.verify(f"{signed_part}.{_encode(signature)}")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda children: (
        st.lists(children, max_size=2) | st.dictionaries(st.text(max_size=5), children, max_size=2)
    ),
    max_leaves=4,
)


@settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.dictionaries(st.sampled_from(sorted(CLAIMS)), json_values, max_size=4))
def test_no_claims_break_the_reader(issuer: TokenIssuer, ring: KeyRing, changed: dict[str, Any]) -> None:
    try:
        found = issuer.verify(signed(ring, {**CLAIMS, **changed}))
    except InvalidToken:
        return
    assert isinstance(found.subject, str)
    assert found.expires > NOW
