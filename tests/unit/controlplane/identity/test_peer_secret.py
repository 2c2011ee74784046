"""Credentials of control planes."""

from __future__ import annotations

import pytest

from controlplane.identity import InvalidToken, PeerSecret
from controlplane.identity.peer_secret import SKEW

SECRET = PeerSecret("s" * 32)
NOW = 1_800_000_000.0


def test_a_credential_under_the_same_secret_is_accepted() -> None:
    sent = SECRET.credential("one.example-50051-ab", "two", NOW)
    assert PeerSecret("s" * 32).check(sent, "two", NOW + SKEW - 1) == "one.example-50051-ab"
    assert SECRET.proof("two", b"nonce") == PeerSecret("s" * 32).proof("two", b"nonce")


@pytest.mark.parametrize(
    ("sent", "callee", "now"),
    [
        pytest.param(SECRET.credential("one", "two", NOW), "three", NOW, id="for another control plane"),
        pytest.param(SECRET.credential("one", "two", NOW), "two", NOW + SKEW + 1, id="old"),
        pytest.param(SECRET.credential("one", "two", NOW), "two", NOW - SKEW - 1, id="from the future"),
        pytest.param(PeerSecret("t" * 32).credential("one", "two", NOW), "two", NOW, id="another secret"),
        pytest.param(SECRET.credential("one", "two", NOW) + "x", "two", NOW, id="another caller"),
        pytest.param(SECRET.credential("", "two", NOW), "two", NOW, id="nobody"),
        *(pytest.param(sent, "two", NOW, id=repr(sent)) for sent in ("", "..", "1.2.3", "١.a.b", "-1.a.b")),
    ],
)
def test_nobody_else_is(sent: str, callee: str, now: float) -> None:
    with pytest.raises(InvalidToken):
        SECRET.check(sent, callee, now)


def test_a_proof_is_for_one_nonce_and_one_name() -> None:
    proofs = {SECRET.proof(name, nonce) for name in ("one", "two") for nonce in (b"a", b"b")}
    assert len(proofs) == 4
    assert "s" * 32 not in repr(SECRET)
