"""The credential of the data planes' pods, which decides their pool."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.chart import NEEDED, Objects, environment, pod, problems, render

FILE = {"name": "DATAPLANE_TOKEN_FILE", "value": "/etc/headgate/token/DATAPLANE_TOKEN"}
ACCEPTED = {"registration": {"kubernetes": {"enabled": True, "audience": "gate"}}}


def rendered(controlplane: dict[str, Any] | None = None, **token: Any) -> Objects:
    return render({**NEEDED, "controlplane": controlplane or {}, "dataplane": {"token": token}})


def volumes(objects: Objects) -> dict[str, Any]:
    return {one["name"]: one for one in pod(objects, "dataplane")["volumes"]}


def test_the_shared_token_by_default() -> None:
    objects = rendered()
    assert "DATAPLANE_TOKEN" in environment(objects, "dataplane") and "token" not in volumes(objects)


def test_a_token_of_a_pool() -> None:
    objects = rendered(secret="edge")
    found = environment(objects, "dataplane")
    assert found["DATAPLANE_TOKEN_FILE"] == FILE and "DATAPLANE_TOKEN" not in found
    assert volumes(objects)["token"]["secret"] == {"secretName": "edge"}
    assert not list(problems(objects))


def test_the_token_of_the_service_account() -> None:
    objects = rendered(ACCEPTED, serviceAccount=True)
    assert environment(objects, "dataplane")["DATAPLANE_TOKEN_FILE"] == FILE
    (source,) = volumes(objects)["token"]["projected"]["sources"]
    assert source["serviceAccountToken"] == {
        "audience": "gate",
        "expirationSeconds": 3600,
        "path": "DATAPLANE_TOKEN",
    }
    # The account's token for the API server stays out of the pod.
    assert pod(objects, "dataplane")["automountServiceAccountToken"] is False
    assert not list(problems(objects))


def test_what_does_not_go_together() -> None:
    with pytest.raises(Exception, match="two credentials"):
        rendered(ACCEPTED, secret="edge", serviceAccount=True)
    with pytest.raises(Exception, match=r"needs controlplane\.registration\.kubernetes\.enabled"):
        rendered(serviceAccount=True)
