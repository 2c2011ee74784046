"""Secrets in URLs: in any field, nested in a query, in parameters of a path; at a bounded cost."""

from __future__ import annotations

import time

import pytest

from dataplane.observe.line_format import MOST_PAIRS, SECRET_PARAMETERS, redact_query
from dataplane.observe.redaction import redact_path, redact_value


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("text/html; charset=utf-8", "text/html; charset=utf-8"),
        ("", ""),
        ("https://a.example/cb?token=abc&page=2", "https://a.example/cb?token=***&page=2"),
        ("https://a.example/cb#access_token=abc", "https://a.example/cb#access_token=***"),
        ("https://ann:pw@a.example/?x=1", "https://***@a.example/?x=1"),
        ("//ann:p@w@a.example/", "//***@a.example/"),
        (
            "<https://a/?token=a,b>; rel=next, <https://a/?key=c>",
            "<https://a/?token=***>; rel=next, <https://a/?key=***>",
        ),
        ("https://a/?x=1,https://b/?token=abc", "https://a/?x=1,https://b/?token=***"),
        ("/a?next=%2Fb%3Ftoken%3Dabc&x=1", "/a?next=***&x=1"),
        ("%2Fb%3Ftoken%3Dabc", "***"),
        ("%2Fb%3Fpage%3D2", "%2Fb%3Fpage%3D2"),
        ("user%5Bpassword%5D=abc", "user%5Bpassword%5D=***"),
        ("for=192.0.2.1;proto=https", "for=192.0.2.1;proto=https"),
        ("ann@example.org", "ann@example.org"),
        ("dGhlIHNhbXBsZQ==", "dGhlIHNhbXBsZQ=="),
    ],
)
def test_the_value_of_any_field(value: str, shown: str) -> None:
    assert redact_value(value, SECRET_PARAMETERS) == shown


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("next=/b?token=abc&x=1", "next=***&x=1"),
        ("next=%2Fb%3Ftoken%3Dabc&x=1", "next=***&x=1"),
        ("next=%252Fb%253Ftoken%253Dabc", "next=***"),
        ("next=token%3Dabc", "next=***"),
        ("next=%2Fb%3Fpage%3D2", "next=%2Fb%3Fpage%3D2"),
        ("q=100%25", "q=100%25"),
        ("q=" + "%25" * 5 + "3Dx", "q=" + "%25" * 5 + "3Dx"),
        ("next=" + "a" * 600 + "%3Fpage%3D2", "next=***"),
    ],
)
def test_a_url_within_a_query(query: str, shown: str) -> None:
    assert redact_query(query, SECRET_PARAMETERS) == shown


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/cart;jsessionid=abc", "/cart;jsessionid=***"),
        ("/cart;JSESSIONID=abc/items;v=1", "/cart;JSESSIONID=***/items;v=1"),
        ("/a;b;c=1", "/a;b;c=1"),
        ("/a=b", "/a=b"),
    ],
)
def test_a_parameter_of_a_path(path: str, shown: str) -> None:
    assert redact_path(path, SECRET_PARAMETERS) == shown


def test_only_so_much_is_looked_at() -> None:
    many = "a=1&" * 20_000
    assert redact_value(many, SECRET_PARAMETERS) == "a=1&" * MOST_PAIRS + "***"
    assert redact_path("/" + ";a=1" * 20_000, SECRET_PARAMETERS).endswith(";***")
    worst = ("x=" + "%3d" * 170 + "&") * 120
    began = time.process_time()
    for value in (many, "=" * 60_000, "a=" * 30_000, worst, "%25" * 20_000, "//" * 30_000 + "@"):
        redact_value(value, SECRET_PARAMETERS)
        redact_query(value, SECRET_PARAMETERS)
    assert time.process_time() - began < 1.0
