"""Certificates as configuration: what is refused, what is stored and shown, and when there is a warning."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from controlplane.model.capabilities import needs
from controlplane.model.certificate import Certificate, ending, kept_key, with_key
from controlplane.model.history import fields_of
from controlplane.model.problems import InvalidConfig
from controlplane.model.resources import parse
from controlplane.model.stored import decode, encode, key_of, shown
from controlplane.store import Entry
from tests.support.certificates import Authority

DAY = 86_400


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def raw(files: tuple[Path, Path], **fields: Any) -> dict[str, Any]:
    certificate, key = (file.read_text() for file in files)
    return {"name": "shop", "certificate": certificate, "private_key": key, **fields}


def made(files: tuple[Path, Path], **fields: Any) -> Certificate:
    found = parse("certificate", raw(files, **fields))
    assert isinstance(found, Certificate)
    return found


def refused(fields: dict[str, Any]) -> list[str]:
    with pytest.raises(InvalidConfig) as raised:
        parse("certificate", fields)
    return [f"{one.field} {one.detail}" for one in raised.value.problems]


def test_what_is_refused(authority: Authority) -> None:
    one, other = authority.issue("one"), authority.issue("other")
    ca = authority.certificate.read_text()
    assert refused(raw(one, private_key=other[1].read_text())) == [
        "private_key is not the key of the (first) certificate"
    ]
    assert refused(raw(one, private_key="secret")) == [
        "private_key must be an unencrypted private key in PEM"
    ]
    assert refused(raw(one, certificate="")) == ["certificate must be one or more certificates in PEM"]
    assert refused(raw(one, certificate=one[1].read_text())) == [
        "certificate must hold only certificates, but holds a private key"
    ]
    assert refused(raw(one, certificate=ca + one[0].read_text())) == [
        "certificate must be a chain, the certificate itself first: certificate 2 is not the issuer of certificate 1",
        "private_key is not the key of the (first) certificate",
    ]
    assert made(one, certificate=one[0].read_text() + ca).not_after


def test_the_key_is_neither_shown_nor_recorded(authority: Authority) -> None:
    files = authority.issue("one")
    found = made(files, not_after="never")
    stored = with_key(found, "sealed")
    for one in (found, stored):
        texts = json.dumps(shown(one)), json.dumps(fields_of(one)), repr(one), str(one)
        assert not any("PRIVATE KEY" in text or 'sealed"' in text for text in texts)
    assert stored.ends is not None
    assert shown(stored)["not_after"] == stored.ends.isoformat()
    assert json.loads(encode(stored))["sealed_key"] == "sealed"
    assert decode(Entry(key_of("certificate", "shop"), encode(stored), 5)) == stored


def test_a_document_cannot_set_what_is_stored(authority: Authority) -> None:
    """It is parsed, as a stored value has it, and replaced by what is stored (`with_passwords`)."""
    found = made(authority.issue("one"), sealed_key="forged")
    assert with_key(found, None).sealed == ""


def test_the_stored_key_stays_as_long_as_it_is_the_certificate_s(authority: Authority) -> None:
    one, other = (made(authority.issue(name)) for name in ("one", "other"))
    stored = with_key(one, "sealed")
    assert kept_key(one, stored) == "sealed"
    assert kept_key(other, stored) is None
    assert kept_key(one, None) is None


def test_there_is_a_warning_thirty_days_ahead(authority: Authority) -> None:
    one = made(authority.issue("one"))
    assert one.ends is not None
    end = one.ends.timestamp()
    assert list(ending([one], end - 31 * DAY)) == []
    assert list(ending([one], end - 29.5 * DAY)) == [("shop", f"expires on {one.ends:%Y-%m-%d}, in 29 days")]
    assert list(ending([one], end)) == [("shop", f"expired on {one.ends:%Y-%m-%d}")]


FILES = {"certificate": "shop/tls.crt", "private_key": "shop/tls.key"}


def test_files_replace_both(authority: Authority) -> None:
    found = parse("certificate", {"name": "shop", "files": FILES})
    assert isinstance(found, Certificate)
    assert (found.certificate, found.not_after, found.ends, found.public_key) == (None, None, None, b"")
    stored = with_key(made(authority.issue("one")), "sealed")
    assert kept_key(found, stored) is None, "the key of the one before is not kept"
    assert "sealed_key" not in json.loads(encode(with_key(found, None)))
    assert decode(Entry(key_of("certificate", "shop"), encode(found), 5)) == found
    assert shown(found)["files"] == FILES
    assert list(ending([found], 0.0)) == []
    assert [(need.field, need.capability) for need in needs(found)] == [("files", "certificates.files")]
    assert [need.capability for need in needs(stored)] == ["certificates.keys"]
    both = refused({**raw(authority.issue("one")), "files": FILES})
    assert both == [
        "certificate must not be given together with files",
        "private_key must not be given together with files",
    ]
    assert refused({"name": "shop"}) == ["certificate is required, or files"]


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../x", "a/../x", "a/./x", "./x", "a//x", "a/", "", "a b", "a\n"]
)
def test_files_lie_below_one_folder(path: str) -> None:
    (problem,) = refused({"name": "shop", "files": {**FILES, "private_key": path}})
    assert problem.startswith("files.private_key must be a relative path like shop/tls.crt")
