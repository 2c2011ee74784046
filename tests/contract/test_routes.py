"""What a route may say means the same to both planes: paths, and methods that are served."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import controlplane.settings
import dataplane.settings
from controlplane.model.fields import METHODS
from controlplane.model.problems import InvalidConfig
from controlplane.model.resources import parse
from dataplane.config.decode import decode
from dataplane.config.table import TableError, UnlinkedRoute
from dataplane.proxy import messages
from headgate_api.bounds import MOST_ROUTES
from headgate_api.v1 import resources_pb2 as pb


def accepted(path: str) -> bool:
    """Whether the control plane takes a route with this path."""
    try:
        parse("route", {"name": "orders", "service_name": "orders", "path": path})
    except InvalidConfig:
        return False
    return True


def matched(path: str) -> str | None:
    """The path that the data plane matches requests with, for a route with this path; None if it refuses."""
    body = pb.Route(service_name="orders", path=path)
    try:
        item = decode(pb.Resource(name="orders", revision=1, route=body))
    except TableError:
        return None
    assert isinstance(item, UnlinkedRoute)
    return item.route.path


PIECES = [
    "/",
    ".",
    "..",
    "a",
    "%2e",
    "%41",
    "%24",
    "$",
    "%3A",
    ":",
    "%C3%A9",
    "%c3",
    "%20",
    "%25",
    "%2F",
    "%5c",
]
PATHS = st.lists(st.sampled_from([*PIECES, ";", "%3B", "{", "?", "%", "%00"]), max_size=8).map("".join)


@given(PATHS.map("/".__add__))
def test_what_the_control_plane_takes_the_data_plane_matches_unchanged(path: str) -> None:
    if accepted(path):
        assert matched(path) == path


@given(PATHS.map("/".__add__))
def test_what_the_data_plane_matches_the_control_plane_takes(path: str) -> None:
    found = matched(path)
    if found is not None and "?" not in path:
        assert accepted(found)


@pytest.mark.parametrize(
    "path", ["/$admin", "/jobs:purge", "/@internal", "/caf%C3%A9", "/a%20b", "/100%25", "/a,b"]
)
def test_paths_in_the_form_that_is_matched(path: str) -> None:
    assert accepted(path) and matched(path) == path


def test_both_know_the_same_methods() -> None:
    assert frozenset(METHODS) == messages.METHODS


def test_both_planes_take_as_many_routes_unless_they_are_set_otherwise() -> None:
    for settings in (controlplane.settings.Settings, dataplane.settings.Settings):
        assert settings.model_fields["max_routes"].default == MOST_ROUTES
