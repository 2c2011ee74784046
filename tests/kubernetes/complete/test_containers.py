"""What the processes of the containers may do, as their kernel says, and the test of the release."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.kubernetes.complete.conftest import ETCD, PLANES, READY, Complete
from tests.support.kubernetes.kubectl import KubectlError
from tests.support.kubernetes.release import NAME

pytestmark = pytest.mark.timeout(600)

SEEN = """
import json, os
from pathlib import Path

fields = dict(line.split(":", 1) for line in Path("/proc/1/status").read_text().splitlines())
try:
    Path("/written").touch()
    written = "the root is writable"
except OSError as error:
    written = os.strerror(error.errno)
account = Path("/var/run/secrets/kubernetes.io/serviceaccount")
print(json.dumps({**fields, "written": written, "token": account.exists(), "shell": os.path.exists("/bin/sh")}))
"""


@pytest.mark.parametrize("plane", PLANES)
def test_a_plane_has_no_capability_no_root_and_nothing_to_write_to(complete: Complete, plane: str) -> None:
    for pod in complete.pods(plane):
        seen: dict[str, Any] = json.loads(complete.kubectl.run("exec", pod, "--", "python3", "-c", SEEN))
        assert set(seen["Uid"].split()) == set(seen["Gid"].split()) == {"65532"}
        for capabilities in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(seen[capabilities], 16) == 0
        assert seen["NoNewPrivs"].strip() == "1"
        # A filter of system calls: that of the runtime.
        assert seen["Seccomp"].strip() == "2"
        assert seen["written"] == "Read-only file system"
        assert seen["token"] is False
        assert seen["shell"] is False


def test_a_member_of_etcd_writes_only_to_its_volume(complete: Complete) -> None:
    complete.etcdctl("snapshot", "save", "/var/lib/etcd/saved.db")
    with pytest.raises(KubectlError, match="read-only file system"):
        complete.etcdctl("snapshot", "save", "/saved.db")
    with pytest.raises(KubectlError, match=r"no such file|not found"):
        complete.kubectl.run("exec", f"{ETCD}-0", "--", "sh")


def test_the_test_of_the_release_passes(complete: Complete) -> None:
    assert READY in complete.helm.test(NAME)


def test_the_test_of_the_release_fails_without_a_data_plane(complete: Complete) -> None:
    complete.kubectl.run("scale", f"deployment/{NAME}-headgate-dataplane", "--replicas=0")
    try:
        with pytest.raises(Exception, match="test"):
            complete.helm.test(NAME)
    finally:
        complete.kubectl.run("scale", f"deployment/{NAME}-headgate-dataplane", "--replicas=2")
        complete.rolled_out()
