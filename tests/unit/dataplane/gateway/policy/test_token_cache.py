"""Which verified tokens are cached, and when they are evicted."""

from __future__ import annotations

import pytest

from dataplane.gateway.policy.authenticate import INVALID, Authenticator, canonical
from dataplane.gateway.policy.permit import Caller
from tests.unit.dataplane.gateway.policy.signed_tokens import (
    NOW,
    ec,
    ed,
    other_rsa,
    outcome,
    rsa,
    token,
    trusted,
)


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
    assert {canonical(value) for value in spellings} == {f"bearer {text}"}
    assert canonical("BASIC \t eA==") == "basic eA=="


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
