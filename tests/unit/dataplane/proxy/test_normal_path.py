"""The one spelling of a path."""

from __future__ import annotations

import posixpath
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.proxy.http1.target import is_plain_target
from dataplane.proxy.normal_path import BadPath, match_form, normal_form


@pytest.mark.parametrize(
    ("path", "normal"),
    [
        ("/", "/"),
        ("/a/b", "/a/b"),
        ("/a/b/", "/a/b/"),
        ("/a//b///c", "/a/b/c"),
        ("//", "/"),
        ("///a", "/a"),
        ("/a/./b", "/a/b"),
        ("/./a", "/a"),
        ("/a/.", "/a/"),
        ("/.", "/"),
        ("/a/b/../c", "/a/c"),
        ("/a/..", "/"),
        ("/a/b/..", "/a/"),
        ("/a/../", "/"),
        ("/a/%2e%2e/b", "/b"),
        ("/a/%2E/b", "/a/b"),
        ("/a/.%2e/b", "/b"),
        ("/%41%7a%30%2d%5f%7E", "/Az0-_~"),
        ("/caf%c3%a9", "/caf%C3%A9"),
        ("/a%20b%3ac", "/a%20b%3Ac"),
        ("/100%25", "/100%25"),
        ("/100%25/x", "/100%25/x"),
        ("/.well-known/x", "/.well-known/x"),
        ("/a/..b/c.../.d", "/a/..b/c.../.d"),
        ("/a{b}|^`<>\"'!$&()*+,=:@", "/a{b}|^`<>\"'!$&()*+,=:@"),
    ],
)
def test_normal_forms(path: str, normal: str) -> None:
    assert normal_form(path) == normal


@pytest.mark.parametrize(
    "path",
    [
        "/%2f",
        "/a%2Fb",
        "/%5c",
        "/%5C..%5C",
        "/a\\b",
        "/..\\",
        "/%00",
        "/a%0d%0aX:%20y",
        "/%1f",
        "/%7f",
        "/a;b",
        "/a/..;/b",
        "/;",
        "/a%3bb",
        "/a%3Bb",
        "/%252e%252e/",
        "/%252f",
        "/%25%32%65",
        "/%2500",
        "/..",
        "/../a",
        "/a/../..",
        "/a/../../b",
        "/%2e%2e/a",
        "/%",
        "/%2",
        "/a%zz",
        "/%g0",
        "/% 20",
        "/%+1",
        "/%_1",
        "/a%",
        "/a#b",
    ],
)
def test_refused(path: str) -> None:
    with pytest.raises(BadPath):
        normal_form(path)


@pytest.mark.parametrize(
    ("sent", "matched"),
    [
        ("/%24admin", "/$admin"),
        ("/jobs%3apurge", "/jobs:purge"),
        ("/%40internal", "/@internal"),
        ("/%21%24%26%27%28%29%2A%2B%2C%3D%3A%40", "/!$&'()*+,=:@"),
        ("/!$&'()*+,=:@-._~", "/!$&'()*+,=:@-._~"),
        ("/a%20b/100%25", "/a%20b/100%25"),
        ("/%3f%23%5b%5D", "/%3F%23%5B%5D"),
        ('/a{b}|^`<>"[]', "/a%7Bb%7D%7C%5E%60%3C%3E%22%5B%5D"),
        ("/caf\u00e9", "/caf%E9"),
        ("/caf%c3%a9", "/caf%C3%A9"),
    ],
)
def test_match_forms(sent: str, matched: str) -> None:
    assert match_form(normal_form(sent)) == matched


PATHS = st.lists(
    st.sampled_from(
        ["/", ".", "..", "a", "b", "%2e", "%2E", "%61", "%C3%A9", "%25", "%20", "~", "c.d", "%24", ":", "{"]
    ),
    max_size=12,
).map(lambda parts: "/" + "".join(parts))


@given(PATHS)
def test_a_normal_form_is_its_own_normal_form(path: str) -> None:
    try:
        normal = normal_form(path)
    except BadPath:
        return
    assert normal_form(normal) == normal
    matched = match_form(normal)
    assert match_form(normal_form(matched)) == matched
    assert matched.count("/") == normal.count("/")
    assert "//" not in normal and "/./" not in normal and "/../" not in normal


@given(PATHS)
def test_what_a_file_server_would_make_of_it(path: str) -> None:
    """Decoding first and resolving then, as upstreams do, leads to the same place."""
    try:
        normal = normal_form(path)
    except BadPath:
        return
    assert posixpath.normpath(unquote(normal)) == posixpath.normpath("/" + unquote(path).lstrip("/"))


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30).map("/".__add__))
def test_never_anything_but_a_path_or_a_refusal(path: str) -> None:
    try:
        normal = normal_form(path)
    except BadPath:
        return
    assert normal.startswith("/") and not set(normal) & set("\\;#")
    assert ".." not in normal.split("/")


def outcome(path: str, plain: bool) -> str | None:
    try:
        return normal_form(path, plain)
    except BadPath:
        return None


@given(st.text("/.;%24eEb:", max_size=12).map(lambda text: f"/{text}"))
def test_a_plain_path_needs_fewer_looks(path: str) -> None:
    assert is_plain_target(path.encode())
    assert outcome(path, True) == outcome(path, False)


@given(PATHS)
def test_a_path_with_a_triplet_comes_back_as_another_object(path: str) -> None:
    assert outcome(path, False) is not path or "%" not in path
