"""Which Authorization values name a caller; forged, stale and foreign tokens of every kind do not."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey

from dataplane.gateway.policy import tokens
from dataplane.gateway.policy.authenticate import INVALID, MISSING, Authenticator, Unauthenticated, canonical
from dataplane.gateway.policy.permit import ANONYMOUS, Caller
from dataplane.gateway.policy.resources import VerificationKey

NOW = 1_800_000_000.0


@cache
def rsa() -> RSAKey:
    return RSAKey.generate_key(2048)


@cache
def other_rsa() -> RSAKey:
    return RSAKey.generate_key(2048)


@cache
def ec() -> ECKey:
    return ECKey.generate_key("P-256")


@cache
def ed() -> OKPKey:
    return OKPKey.generate_key("Ed25519")


def public(key: Key, **more: str) -> str:
    return json.dumps({**key.as_dict(private=False), **more})


def trusted(
    key: Key, kid: str = "k1", issuer: str = "headgate", audience: str = "headgate"
) -> VerificationKey:
    return VerificationKey(kid, public(key, kid=kid), issuer, audience)


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


HEADER = {"alg": "RS256", "typ": "at+jwt", "kid": "k1"}
CLAIMS: dict[str, Any] = {
    "iss": "headgate",
    "sub": "testuser",
    "aud": "headgate",
    "exp": NOW + 900,
    "iat": NOW,
    "jti": "1",
    "scope": "orders:read orders:write",
}
ABSENT = object()


def changed(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**base, **changes}.items() if value is not ABSENT}


def signed(header: dict[str, Any], payload: bytes, key: Key) -> str:
    """A token with this very header and payload, whatever the library thinks of them."""
    head = b64(json.dumps(header).encode())
    body = b64(payload)
    algorithm = jws.JWSRegistry.algorithms[header["alg"]]
    return f"{head}.{body}.{b64(algorithm.sign(f'{head}.{body}'.encode(), key))}"


def token(header: dict[str, Any] | None = None, key: Key | None = None, **claims: Any) -> str:
    payload = json.dumps(changed(CLAIMS, claims)).encode()
    return signed(changed(HEADER, header or {}), payload, key or rsa())


@pytest.fixture
def gate() -> Authenticator:
    return Authenticator([trusted(rsa())])


def outcome(gate: Authenticator, text: str, now: float = NOW) -> Caller | Unauthenticated:
    return gate.authenticate(f"Bearer {text}", now)


# --- what is believed


def test_a_good_token_names_its_caller(gate: Authenticator) -> None:
    caller = outcome(gate, token())
    assert isinstance(caller, Caller)
    assert caller.subject == "testuser"
    assert caller.scopes == {"orders:read", "orders:write"}
    assert caller.expires == NOW + 900


def test_the_second_time_it_is_the_very_same_caller(gate: Authenticator) -> None:
    text = token()
    assert outcome(gate, text) is outcome(gate, text)


@pytest.mark.parametrize(
    ("key", "algorithm"), [(rsa, "RS256"), (ec, "ES256"), (ed, "Ed25519"), (ed, "EdDSA")]
)
def test_each_kind_of_key_verifies_its_algorithm(key: Callable[[], Key], algorithm: str) -> None:
    gate = Authenticator([trusted(key())])
    assert isinstance(outcome(gate, token({"alg": algorithm}, key())), Caller)


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": ["other", "headgate"]},
        {"scope": ABSENT, "scopes": ["orders:read", "orders:write"]},
        {"scope": None, "scopes": ["orders:read", "orders:write"]},
        {"scope": "  orders:write   orders:read "},
        {"nbf": NOW},
        {"nbf": NOW + tokens.LEEWAY, "iat": NOW + tokens.LEEWAY},
        {"iat": ABSENT},
        {"exp": int(NOW + 900)},
        {"token_use": "anything", "extra": {"nested": [1, 2]}},
    ],
)
def test_claims_come_in_several_forms(gate: Authenticator, claims: dict[str, Any]) -> None:
    caller = outcome(gate, token(**claims))
    assert isinstance(caller, Caller)
    assert caller.scopes == {"orders:read", "orders:write"}


@pytest.mark.parametrize("claims", [{"scope": ""}, {"scope": ABSENT}, {"scope": ABSENT, "scopes": []}])
def test_a_token_may_grant_nothing(gate: Authenticator, claims: dict[str, Any]) -> None:
    caller = outcome(gate, token(**claims))
    assert isinstance(caller, Caller)
    assert caller.scopes == frozenset()


@pytest.mark.parametrize(
    "header",
    [{"typ": "AT+JWT"}, {"typ": "application/at+jwt"}, {"jku": "https://evil.example/keys"}, {"x": 1}],
)
def test_header_parameters_that_change_nothing(gate: Authenticator, header: dict[str, Any]) -> None:
    assert isinstance(outcome(gate, token(header)), Caller)


def test_the_kid_selects_among_several_keys() -> None:
    gate = Authenticator([trusted(rsa()), trusted(other_rsa(), "k2"), trusted(ec(), "k3", "elsewhere", "us")])
    assert isinstance(outcome(gate, token()), Caller)
    assert isinstance(outcome(gate, token({"kid": "k2"}, other_rsa())), Caller)
    assert isinstance(
        outcome(gate, token({"kid": "k3", "alg": "ES256"}, ec(), iss="elsewhere", aud="us")), Caller
    )


def test_a_key_without_kid_goes_by_its_name() -> None:
    gate = Authenticator([VerificationKey("k1", public(rsa()), "headgate", "headgate")])
    assert isinstance(outcome(gate, token()), Caller)


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER ", "bEaReR   "])
def test_the_scheme_has_no_case_and_any_number_of_spaces(gate: Authenticator, scheme: str) -> None:
    assert isinstance(gate.authenticate(scheme + token(), NOW), Caller)


# --- what is no token at all


@pytest.mark.parametrize(
    "value", [None, "", "Bearer", "Bearer ", "bearer    ", "Basic dXNlcjpwYXNz", "Digest x=1"]
)
def test_without_a_bearer_token_it_is_missing(gate: Authenticator, value: str | None) -> None:
    assert gate.authenticate(value, NOW) == MISSING


def test_another_scheme_is_not_searched_for_tokens(gate: Authenticator) -> None:
    text = token()
    assert gate.authenticate(text, NOW) == MISSING
    assert gate.authenticate(f"Token {text}", NOW) == MISSING
    assert gate.authenticate(f"Bearer\t{text}", NOW) == MISSING
    assert gate.authenticate(f"Bearer{text}", NOW) == MISSING


# --- what is not believed


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": NOW},
        {"exp": NOW - 1},
        {"exp": ABSENT},
        {"exp": None},
        {"exp": str(NOW + 900)},
        {"exp": True},
        {"exp": float("inf")},
        {"exp": float("nan")},
        {"exp": 10**400},
        {"exp": 2.0**54},
        {"exp": -1},
        {"exp": [NOW + 900]},
        {"nbf": NOW + tokens.LEEWAY + 1},
        {"nbf": "soon"},
        {"iat": NOW + tokens.LEEWAY + 1},
        {"iat": float("nan")},
        {"iss": "elsewhere"},
        {"iss": ABSENT},
        {"iss": ["headgate"]},
        {"iss": {"headgate": 1}},
        {"aud": "elsewhere"},
        {"aud": ABSENT},
        {"aud": []},
        {"aud": ["elsewhere"]},
        {"aud": [["headgate"]]},
        {"aud": {"headgate": 1}},
        {"aud": "headgate "},
        {"sub": ABSENT},
        {"sub": ""},
        {"sub": 7},
        {"sub": "a\r\nX-Auth-Subject: admin"},
        {"sub": "a\x00b"},
        {"sub": "ä"},
        {"sub": "a" * 256},
        {"cred": 7},
        {"scope": 7},
        {"scope": {"orders:read": True}},
        {"scope": ABSENT, "scopes": 7},
        {"scope": ABSENT, "scopes": [7]},
        {"scope": ABSENT, "scopes": ["two words"]},
        {"scope": "a\nb \x01"},
        {"scope": 'quo"te'},
        {"scope": ABSENT, "scopes": [["orders:read"]]},
    ],
)
def test_bad_claims(gate: Authenticator, claims: dict[str, Any]) -> None:
    assert outcome(gate, token(**claims)) == INVALID


@pytest.mark.parametrize(
    "header",
    [
        {"kid": "k2"},
        {"kid": ABSENT},
        {"kid": None},
        {"kid": ["k1"]},
        {"kid": 1},
        {"typ": "JWT"},
        {"typ": "rt+jwt"},
        {"typ": ABSENT},
        {"typ": None},
        {"typ": ["at+jwt"]},
        {"crit": ["exp"], "exp": 1},
        {"crit": ["b64"], "b64": True},
        {"crit": []},
        {"b64": False},
        {"alg": "RS512"},
        {"alg": "PS256"},
        {"alg": "rs256"},
        {"alg": ABSENT},
        {"alg": None},
        {"alg": ["RS256"]},
    ],
)
def test_bad_headers(gate: Authenticator, header: dict[str, Any]) -> None:
    assert outcome(gate, unsignable(header)) == INVALID


def unsignable(header: dict[str, Any]) -> str:
    """A good token whose header says something else than how it was signed."""
    head = b64(json.dumps(changed(HEADER, header)).encode())
    body = b64(json.dumps(CLAIMS).encode())
    model = jws.JWSRegistry.algorithms["RS256"]
    return f"{head}.{body}.{b64(model.sign(f'{head}.{body}'.encode(), rsa()))}"


def test_alg_none_is_never_believed(gate: Authenticator) -> None:
    head, body = b64(json.dumps({**HEADER, "alg": "none"}).encode()), b64(json.dumps(CLAIMS).encode())
    signature = token().rsplit(".", 1)[1]
    for text in (f"{head}.{body}.", f"{head}.{body}.{signature}", f"{head}.{body}"):
        assert outcome(gate, text) == INVALID


def test_a_public_key_is_no_hmac_secret(gate: Authenticator) -> None:
    """RFC 8725, section 2.1: the attacker signs with what everybody knows, the public key."""
    for secret in (rsa().as_pem(private=False), public(rsa()).encode()):
        key = OctKey.import_key(base64.b64encode(secret))
        assert outcome(gate, token({"alg": "HS256"}, key)) == INVALID


def test_a_key_takes_no_algorithm_of_another_kind() -> None:
    gate = Authenticator([trusted(ec()), trusted(rsa(), "k2"), trusted(ed(), "k3")])
    assert outcome(gate, token({"alg": "RS256", "kid": "k1"}, rsa())) == INVALID
    assert outcome(gate, token({"alg": "ES256", "kid": "k2"}, ec())) == INVALID
    assert outcome(gate, token({"alg": "ES256", "kid": "k3"}, ec())) == INVALID
    assert outcome(gate, token({"alg": "Ed25519", "kid": "k1"}, ed())) == INVALID


def test_a_key_sent_along_is_not_used(gate: Authenticator) -> None:
    header = {"jwk": json.loads(public(other_rsa()))}
    assert outcome(gate, token(header, other_rsa())) == INVALID


def test_a_key_of_one_issuer_does_not_speak_for_another() -> None:
    gate = Authenticator([trusted(rsa()), trusted(other_rsa(), "k2", "elsewhere")])
    assert outcome(gate, token({"kid": "k2"}, other_rsa())) == INVALID
    assert isinstance(outcome(gate, token({"kid": "k2"}, other_rsa(), iss="elsewhere")), Caller)


def test_every_changed_character_breaks_it(gate: Authenticator) -> None:
    text = token()
    for position in range(0, len(text), 7):
        other = "A" if text[position] != "A" else "B"
        assert outcome(gate, text[:position] + other + text[position + 1 :]) == INVALID


def mangled() -> Iterator[str]:
    head, body, signature = token().split(".")
    yield from (
        head,
        f"{head}.{body}",
        f"{head}.{body}.",
        f"{head}..{signature}",
        f".{body}.{signature}",
        "..",
        "...",
    )
    yield f"{head}.{body}.{signature}.{signature}"
    yield f"{head}.{body}.{signature}="
    yield f"{head}.{body}.{signature} x"
    yield f"{head}.{body}.{signature},"
    yield f"{head}.{body}.\udc80"
    yield f"{head}.{body}.{signature}ä"
    for data in (b"[]", b'"alg"', b"null", b'["alg"]', b"{", b"", b"\xff", b"[" * 3000):
        yield f"{b64(data)}.{body}.{signature}"
        yield signed(HEADER, data, rsa())


ENCODINGS = ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-8-sig")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_claims_in_another_encoding_are_refused(gate: Authenticator, encoding: str) -> None:
    assert outcome(gate, signed(HEADER, json.dumps(CLAIMS).encode(encoding), rsa())) == INVALID


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_header_in_another_encoding_is_refused(gate: Authenticator, encoding: str) -> None:
    assert outcome(gate, with_header(json.dumps(HEADER).encode(encoding))) == INVALID


@pytest.mark.parametrize("again", ["sub", "exp", "iss"])
def test_a_claim_that_is_there_twice_is_refused(gate: Authenticator, again: str) -> None:
    text = json.dumps(CLAIMS)
    twice = f'{{"{again}": {json.dumps(CLAIMS[again])}, {text[1:]}'
    assert outcome(gate, signed(HEADER, twice.encode(), rsa())) == INVALID


def test_so_are_a_nested_one_and_a_header_parameter(gate: Authenticator) -> None:
    nested = json.dumps(CLAIMS)[:-1] + ', "act": {"sub": "a", "sub": "b"}}'
    assert outcome(gate, signed(HEADER, nested.encode(), rsa())) == INVALID
    assert outcome(gate, with_header(b'{"typ": "JWT", ' + json.dumps(HEADER).encode()[1:])) == INVALID


def test_numbers_that_json_does_not_know_are_refused(gate: Authenticator) -> None:
    assert outcome(gate, token(extra=float("nan"))) == INVALID


def with_header(header: bytes) -> str:
    """A signed token with these very bytes of a header."""
    body = json.dumps(CLAIMS).encode()
    signing = f"{b64(header)}.{b64(body)}"
    return f"{signing}.{b64(jws.JWSRegistry.algorithms['RS256'].sign(signing.encode(), rsa()))}"


@pytest.mark.parametrize("number", range(29))
def test_what_is_no_jws(gate: Authenticator, number: int) -> None:
    assert outcome(gate, list(mangled())[number]) == INVALID


def test_a_token_may_have_8_kib_and_no_more(gate: Authenticator) -> None:
    spare = 8192 - len(token(pad=""))
    longest = token(pad="a" * (spare * 3 // 4))
    assert 8189 <= len(longest) <= 8192
    assert isinstance(outcome(gate, longest), Caller)
    assert outcome(gate, token(pad="a" * (spare * 3 // 4 + 3))) == INVALID
    assert outcome(gate, "a." * 10_000_000) == INVALID


@given(st.text(max_size=60))
def test_garbage_is_refused_without_an_exception(text: str) -> None:
    gate = Authenticator([])
    assert isinstance(gate.authenticate(text, NOW), Unauthenticated)
    assert gate.authenticate(f"Bearer x{text}", NOW) == INVALID


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3),
    )
)
def test_no_kind_of_claim_raises(value: Any) -> None:
    gate = Authenticator([trusted(rsa())])
    for claim in ("iss", "sub", "aud", "exp", "nbf", "iat", "scope", "scopes"):
        gate.authenticate(f"Bearer {token(**{claim: value})}", NOW)
    for parameter in ("alg", "kid", "typ", "crit", "b64", "jwk", "jku", "x5c", "cty"):
        gate.authenticate(f"Bearer {unsignable({parameter: value})}", NOW)


@pytest.mark.parametrize(
    ("header", "claims"),
    [
        ({}, {"exp": NOW}),
        ({}, {"aud": "elsewhere"}),
        ({}, {"nbf": NOW + 60}),
        ({"kid": "k2"}, {}),
        ({"typ": "JWT"}, {}),
    ],
)
def test_a_flood_of_stale_or_foreign_tokens_costs_no_signature_check(
    gate: Authenticator, monkeypatch: pytest.MonkeyPatch, header: dict[str, Any], claims: dict[str, Any]
) -> None:
    text = token(header, **claims)

    def unexpected(*_: object, **__: object) -> bool:
        pytest.fail("the signature was checked")

    monkeypatch.setattr(jws, "validate_compact", unexpected)
    assert outcome(gate, text) == INVALID


# --- what is remembered


def test_a_remembered_token_still_expires(gate: Authenticator) -> None:
    text = token()
    assert isinstance(outcome(gate, text, NOW), Caller)
    assert isinstance(outcome(gate, text, NOW + 899), Caller)
    assert outcome(gate, text, NOW + 900) == INVALID
    assert isinstance(outcome(gate, text, NOW + 899), Caller), "the wall clock may be set back"


def test_refusals_are_not_remembered(gate: Authenticator) -> None:
    text = token(nbf=NOW + 100)
    assert outcome(gate, text, NOW) == INVALID
    assert isinstance(outcome(gate, text, NOW + 100), Caller)


def test_the_cache_is_bounded_and_keeps_what_is_in_use() -> None:
    gate = Authenticator([trusted(ed())], max_cached=10)
    texts = [token({"alg": "Ed25519"}, ed(), sub=f"user{number}") for number in range(30)]
    first = outcome(gate, texts[0])
    for text in texts[1:]:
        outcome(gate, text)
        assert outcome(gate, texts[0]) is first
        assert len(gate._young) + len(gate._old) <= 10
    assert outcome(gate, texts[29]) is outcome(gate, texts[29])
    assert f"Bearer {texts[1]}" not in {**gate._young, **gate._old}


@pytest.mark.parametrize("padding", [0, 5_000], ids=["by number", "by size"])
def test_one_subject_with_ever_new_tokens_evicts_its_own(padding: int) -> None:
    gate = Authenticator([trusted(ed())], max_cached=160, max_bytes=2_000_000)
    others = [token({"alg": "Ed25519"}, ed(), sub=f"user{number}") for number in range(20)]
    callers = [outcome(gate, text) for text in others]
    for number in range(400):
        outcome(gate, token({"alg": "Ed25519"}, ed(), sub="busy", jti=f"{number}{'x' * padding}"))
    # Nobody else has to be verified again, and nothing is left over of what was evicted.
    assert [outcome(gate, text) for text in others] == callers
    assert all(outcome(gate, text) is caller for text, caller in zip(others, callers, strict=True))
    busy = [text for text, caller in gate._young.items() if caller.subject == "busy"]
    assert 1 < len(busy) <= 10 and len(gate._young) == 20 + len(busy)
    assert list(gate._held["busy"].keys) == busy
    assert gate._young_bytes == sum(held.size for held in gate._held.values())


def test_every_spelling_of_the_field_shares_one_entry() -> None:
    gate = Authenticator([trusted(ed())])
    text = token({"alg": "Ed25519"}, ed())
    first = outcome(gate, text)
    spellings = [f"{scheme}{' ' * n}{text}" for scheme in ("Bearer", "bearer", "BEARER") for n in (1, 2, 99)]
    assert all(gate.authenticate(value, NOW) is first for value in spellings)
    assert {**gate._young, **gate._old} == {f"Bearer {text}": first}
    assert {canonical(value) for value in spellings} == {f"Bearer {text}"}
    assert canonical("Basic  eA==") == "Basic  eA=="


def test_the_cache_is_bounded_in_bytes_too() -> None:
    gate = Authenticator([trusted(ed())], max_bytes=100_000)
    long = "x" * 4_000
    for number in range(40):
        text = token({"alg": "Ed25519"}, ed(), sub=f"user{number}", jti=long)
        assert isinstance(outcome(gate, text), Caller)
        assert sum(len(key or "") for key in (*gate._young, *gate._old)) * 2 <= 100_000
    assert gate._young and gate._old


def test_a_token_in_the_old_generation_expires_too() -> None:
    gate = Authenticator([trusted(ed())], max_cached=4)
    first, *others = (token({"alg": "Ed25519"}, ed(), sub=f"user{number}") for number in range(3))
    for text in (first, *others):
        assert isinstance(outcome(gate, text), Caller)
    assert outcome(gate, first, NOW + 900) == INVALID


def test_equal_keys_keep_the_cache_in_any_order() -> None:
    gate = Authenticator([trusted(rsa()), trusted(ec(), "k2")])
    assert gate.changed([trusted(ec(), "k2"), trusted(rsa())]) is gate


@pytest.mark.parametrize(
    "keys",
    [
        [],
        [("k2", "headgate", "headgate")],
        [("k1", "elsewhere", "headgate")],
        [("k1", "headgate", "elsewhere")],
    ],
)
def test_a_key_that_is_gone_takes_its_tokens_along(
    gate: Authenticator, keys: list[tuple[str, str, str]]
) -> None:
    text = token()
    assert isinstance(outcome(gate, text), Caller)
    after = gate.changed([trusted(rsa(), *key) for key in keys])
    assert outcome(after, text) == INVALID
    assert isinstance(outcome(gate, text), Caller), "exchanges under way keep theirs"


def test_a_key_replaced_under_its_name_is_another_key(gate: Authenticator) -> None:
    text = token()
    assert isinstance(outcome(gate, text), Caller)
    assert outcome(gate.changed([trusted(other_rsa())]), text) == INVALID


# --- keys


@pytest.mark.parametrize(
    "jwk",
    [
        "",
        "{",
        "[]",
        "null",
        '"text"',
        "{}",
        '{"kty": "RSA"}',
        '{"kty": "RSA", "n": 7, "e": "AQAB"}',
        '{"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA"}',
        '{"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA"}',
        '{"kty": "quantum"}',
    ],
)
def test_a_key_that_cannot_be_used_is_named(jwk: str) -> None:
    with pytest.raises(ValueError, match="'k1'"):
        Authenticator([VerificationKey("k1", jwk, "headgate", "headgate")])


@pytest.mark.parametrize(
    "key",
    [
        lambda: RSAKey.generate_key(1024),
        lambda: ECKey.generate_key("P-384"),
        lambda: OKPKey.generate_key("X25519"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_weak_and_foreign_kinds_of_keys_are_not_taken(key: Callable[[], Key]) -> None:
    with pytest.raises(ValueError, match="'k1'"):
        Authenticator([trusted(key())])


@pytest.mark.parametrize("more", [{"use": "enc"}, {"alg": "RS512"}, {"alg": "HS256"}])
def test_a_key_meant_for_something_else_is_not_taken(more: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="'k1'"):
        Authenticator([VerificationKey("k1", public(rsa(), **more), "headgate", "headgate")])


def test_two_keys_of_one_name_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="kid"):
        Authenticator([trusted(rsa()), trusted(ec())])


def test_anonymous_holds_nothing_for_ever() -> None:
    assert (ANONYMOUS.subject, ANONYMOUS.scopes, ANONYMOUS.expires) == ("", frozenset(), float("inf"))


def test_a_caller_is_shown_without_its_token(gate: Authenticator) -> None:
    text = token()
    assert "testuser" in repr(outcome(gate, text))
    assert text[-20:] not in repr(outcome(gate, text))
