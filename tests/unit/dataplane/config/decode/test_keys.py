"""Private keys in the cache on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataplane.config.cache import Cache
from dataplane.config.decode import NOTHING, cache_key, difference, unpack
from dataplane.config.journal import Journal
from tests.support import wire
from tests.support.certificates import Authority

KEY = cache_key("token")


@pytest.mark.parametrize("compacted", [False, True])
def test_a_key_is_on_disk_only_encrypted(tmp_path: Path, *, compacted: bool) -> None:
    files = Authority(tmp_path / "ca").issue("one")
    bundle = unpack(wire.snapshot(wire.service("s"), wire.certificate("shop", files), revision=5))
    journal = Journal(Cache(tmp_path / "cache"), KEY)
    journal.write(NOTHING, bundle, difference(NOTHING, bundle))
    if compacted:
        later = unpack(wire.snapshot(wire.certificate("shop", files), revision=6))
        journal.write(bundle, later, difference(bundle, later))
        bundle = later
        Journal(Cache(tmp_path / "cache"), KEY).compact(bundle)
    content = (tmp_path / "cache" / "table").read_bytes()
    assert b"PRIVATE KEY" not in content and b"BEGIN CERTIFICATE" in content
    assert Journal(Cache(tmp_path / "cache"), KEY).load() == bundle
    other = Cache(tmp_path / "cache")
    assert Journal(other, cache_key("another token")).load() is None
    assert "was encrypted with another credential" in other.problem


def test_a_forged_key_is_refused(tmp_path: Path) -> None:
    """One of another certificate, of the same file."""
    authority = Authority(tmp_path / "ca")
    first, second = authority.issue("one"), authority.issue("two")
    bundle = unpack(wire.snapshot(wire.certificate("a", first), wire.certificate("b", second), revision=5))
    journal = Journal(Cache(tmp_path), KEY)
    journal.write(NOTHING, bundle, difference(NOTHING, bundle))
    (record,) = Cache(tmp_path).load()
    assert Cache(tmp_path).replace(record.replace(b"\n\x01a", b"\n\x01c", 1))
    assert Journal(Cache(tmp_path), KEY).load() is None
