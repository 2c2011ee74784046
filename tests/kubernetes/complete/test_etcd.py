"""The chart's own etcd: its members, their ends and their data, and the jobs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kubernetes.complete.conftest import ETCD, TIMEOUT, Complete
from tests.support.kubernetes.administrator import route
from tests.support.kubernetes.helm import path_of_commands
from tests.support.kubernetes.release import DATA_PLANE
from tests.support.kubernetes.session import Session, session
from tests.support.pages import DOCS, ROOT, blocks
from tests.support.waiting import eventually_now

pytestmark = pytest.mark.timeout(1200)

MEMBERS = [f"{ETCD}-{number}" for number in range(3)]


def wait_for_all(complete: Complete) -> None:
    """Until every member is ready and has a leader. Just after a deletion, the rollout may seem to be complete."""
    complete.rolled_out()

    def healthy() -> bool:
        found = complete.etcdctl("endpoint", "health", "--cluster", "--write-out=json")
        return [each["health"] for each in json.loads(found)] == [True] * len(MEMBERS)

    eventually_now(healthy, within=TIMEOUT, every=1)
    complete.rolled_out()
    # Control planes connect to the members' new addresses, and refuse everything until then.
    for _ in range(5):
        eventually_now(lambda: bool(complete.administrator.run("get", "routes")), within=60, every=1)


def uids(complete: Complete) -> set[str]:
    """Of the members' pods; an error while one is missing."""
    return {complete.kubectl.get("pod", member)["metadata"]["uid"] for member in MEMBERS}


def applied(complete: Complete, name: str) -> bool:
    """Whether a change is accepted."""
    complete.administrator.apply(route(name))
    return True


def listed(page: str, heading: str) -> Iterator[str]:
    """The shell blocks of a section of a page."""
    path = DOCS / page
    lines = path.read_text().splitlines()
    begin = lines.index(heading)
    end = next(number for number in range(begin + 1, len(lines)) if lines[number].startswith("## "))
    yield from (block.text for block in blocks(path) if begin < block.line < end and block.language == "bash")


@pytest.fixture
def shell(complete: Complete, tmp_path: Path) -> Iterator[Session]:
    """A shell in the checkout."""
    environment = {
        "KUBECONFIG": str(complete.kubectl.kubeconfig),
        "PATH": path_of_commands(tmp_path / "bin"),
    }
    with session(ROOT, environment) as found:
        yield found


def test_three_members_that_only_clients_with_a_certificate_reach(complete: Complete) -> None:
    wait_for_all(complete)
    members = json.loads(complete.etcdctl("member", "list", "--write-out=json"))["members"]
    assert sorted(each["name"] for each in members) == MEMBERS
    assert all(
        url.startswith("https://") for each in members for url in each["peerURLs"] + each["clientURLs"]
    )


def test_a_killed_member_costs_nothing_and_comes_back(complete: Complete) -> None:
    complete.kubectl.run("delete", "pod", MEMBERS[1], "--force", "--grace-period=0")
    complete.administrator.apply(route("without-a-member"))
    wait_for_all(complete)


def test_data_outlives_the_restart_of_all_members(complete: Complete) -> None:
    complete.administrator.apply(route("kept"))
    before = uids(complete)
    complete.kubectl.run("delete", "pod", *MEMBERS, "--wait=false")
    eventually_now(lambda: uids(complete).isdisjoint(before), within=TIMEOUT, every=1)
    wait_for_all(complete)
    assert "kept" in complete.administrator.names("routes")
    eventually_now(lambda: applied(complete, "after-the-restart"), within=60, every=1)
    assert complete.administrator.get(f"http://{DATA_PLANE}/after-the-restart") == 503


def test_the_job_that_defragments(complete: Complete) -> None:
    log = complete.run_job(f"{ETCD}-defragment", "defragment-now")
    assert log.count("Finished defragmenting etcd member") == 3


def test_the_documented_backup_and_restore(complete: Complete, shell: Session) -> None:
    save, restore = listed("how-to/backup.md", "## On Kubernetes")
    here = f"-n {complete.kubectl.namespace} "
    complete.administrator.apply(route("in-the-snapshot"))
    log = shell.run(save.replace("-n headgate ", here))
    found = re.search(r"kept (save-now-\w+\.db)", log)
    assert found is not None, log
    complete.administrator.apply(route("later"))
    shell.run(restore.replace("-n headgate ", here).replace("save-now-x7k2p.db", found[1]), timeout=TIMEOUT)
    wait_for_all(complete)
    # Data planes go on with what they had.
    assert complete.administrator.get(f"http://{DATA_PLANE}/later") == 503
    confirm = ("store", "confirm", "--yes")
    eventually_now(lambda: bool(complete.administrator.run(*confirm)), within=60, every=1)
    routes = complete.administrator.names("routes")
    assert "in-the-snapshot" in routes
    assert "later" not in routes
    # The other control plane may find its connections broken at this moment.
    eventually_now(lambda: applied(complete, "after-the-restore"), within=15, every=1)
    assert complete.administrator.get(f"http://{DATA_PLANE}/later") == 404
    assert complete.administrator.get(f"http://{DATA_PLANE}/after-the-restore") == 503
