"""Keys of buckets: what may be secret stands in none of them in the clear."""

from __future__ import annotations

import pytest

from controlplane.model.reset_key import shows_hidden

HASH = "#" + "0a" * 12


@pytest.mark.parametrize(
    "key",
    [
        "alice",
        "subject:alice",
        "subject:api_key:alice",
        "address:2001:db8::/64",
        "subject,address,route:a,b,c,192.0.2.1,orders",
        f"header:{HASH}",
        "header:",
        f"header:x-key:{HASH}",
        "header:x-key:",
        f"api_key:{HASH}",
        f"claim:plan:{HASH}",
        f"claim:urn:plan:{HASH}",
        f"header:x-long,address,route,api_key:{HASH},127.0.0.1,orders,",
        f"subject,claim:urn:plan:a,b,{HASH}",
        "address,subject",
        "a/b c",
        "",
    ],
)
def test_keys_as_reports_show_them(key: str) -> None:
    assert not shows_hidden(key)


@pytest.mark.parametrize(
    "key",
    [
        "header:sk_live_1",
        "header:x-key:sk_live_1",
        "api_key:sk_live_1",
        f"api_key:{HASH}x",
        f"api_key:{HASH},sk_live_1",
        "claim:email:joe@example.org",
        "address,api_key:192.0.2.1,sk_live_1",
        f"api_key,header:x-key:{HASH},sk_live_1",
        f"api_key,header:x-key:sk_live_1,{HASH}",
        "api_key,subject:sk_live_1,alice",
        "api_key:sk\nlive",
    ],
)
def test_values_that_may_be_secret(key: str) -> None:
    assert shows_hidden(key)


def test_a_long_key_is_read_at_once() -> None:
    assert shows_hidden("address,subject,route,api_key:" + "," * 480 + "x")
