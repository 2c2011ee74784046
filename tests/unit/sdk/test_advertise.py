"""Names for instances whose author gave none."""

from __future__ import annotations

import re

import pytest

from headgate.advertise import default_instance_id, fitted_id

POD = "a-service-with-a-long-name-in-a-team-with-a-long-name-7f9c4d-{}"


def test_long_host_names_stay_apart() -> None:
    """Wherever they differ: at the end, as pods of one deployment do, or at the beginning."""
    hosts = [*(POD.format(suffix) for suffix in ("x2x4z", "x2x5z")), "b" + POD.format("x2x4z")[1:]]
    assert all(len(host) >= 59 for host in hosts)
    names = {default_instance_id(host, 9000) for host in hosts}
    assert len(names) == 3
    for name in names:
        assert re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,62}", name)
        assert name.endswith("-9000")


@pytest.mark.parametrize(
    ("text", "name"),
    [("orders-1-9000", "orders-1-9000"), ("Orders_1.Example-9000", "orders_1.example-9000"), ("é-1", "1")],
)
def test_short_ones_are_kept(text: str, name: str) -> None:
    assert fitted_id(text) == name


def test_a_name_that_fits_is_left_alone() -> None:
    name = default_instance_id(POD.format("x2x4z"), 9000)
    assert fitted_id(name) == name


def test_sockets_of_one_name_in_different_folders_stay_apart() -> None:
    assert default_instance_id("node", "/run/apps/a/http.sock") == "node-run-apps-a-http.sock"
    assert default_instance_id("node", "/run/apps/b/http.sock") == "node-run-apps-b-http.sock"
