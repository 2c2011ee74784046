"""The cluster does what the other tests rely on: pods, Services, DNS, limits and the end of a pod."""

from __future__ import annotations

import subprocess

import pytest

from tests.support.kubernetes import objects
from tests.support.kubernetes.images import Images
from tests.support.kubernetes.kubectl import Kubectl

pytestmark = pytest.mark.timeout(300)

SERVER = """
import http.server, socket
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(socket.gethostname().encode())
http.server.HTTPServer(("", 8080), Handler).serve_forever()
"""
CLIENT = """
import time, urllib.request
seen = set()
while len(seen) < 2:
    seen.add(urllib.request.urlopen("http://hello").read().decode())
    time.sleep(0.01)
print(*sorted(seen))
"""
GREEDY = "x = bytearray(200_000_000); x[::4096] = bytes(len(x[::4096]))"
TOLD = """
import signal, sys, time
def told(*_):
    print("told", flush=True)
    time.sleep(2)
    sys.exit("ended by itself")
signal.signal(signal.SIGTERM, told)
print("ready", flush=True)
signal.pause()
"""


def python(images: Images, code: str, **container: object) -> objects.Object:
    """A pod that runs a few lines of Python."""
    return objects.pod_spec(images.reference("headgate-sdk"), ["python3", "-c", code], **container)


def test_pods_answer_behind_a_service_that_is_found_by_its_name(namespace: Kubectl, images: Images) -> None:
    probe = objects.http_probe("/", 8080, periodSeconds=1)
    namespace.apply(
        objects.deployment("hello", 2, python(images, SERVER, readinessProbe=probe)),
        objects.service("hello", 80, 8080),
        objects.pod("client", python(images, CLIENT)),
    )
    namespace.rolled_out("deployment/hello")
    namespace.wait("pod/client", "jsonpath={.status.phase}=Succeeded")
    pods = sorted(pod["metadata"]["name"] for pod in namespace.list("pods", "app=hello"))
    assert namespace.run("logs", "client").split() == pods


def test_a_pod_above_its_memory_limit_is_killed(namespace: Kubectl, images: Images) -> None:
    limits = {"limits": {"memory": "64Mi"}}
    namespace.apply(objects.pod("greedy", python(images, GREEDY, resources=limits)))
    namespace.wait("pod/greedy", "jsonpath={.status.phase}=Failed")
    (status,) = namespace.get("pod", "greedy")["status"]["containerStatuses"]
    assert status["state"]["terminated"]["reason"] == "OOMKilled"


def test_a_pod_that_is_deleted_gets_sigterm_and_its_time(namespace: Kubectl, images: Images) -> None:
    namespace.apply(objects.pod("told", python(images, TOLD)))
    namespace.wait("pod/told", "condition=Ready")
    log = subprocess.Popen(namespace.argv("logs", "told", "--follow"), stdout=subprocess.PIPE, text=True)
    assert log.stdout is not None
    assert log.stdout.readline() == "ready\n"
    namespace.run("delete", "pod", "told")
    output, _ = log.communicate(timeout=30)
    assert output.splitlines() == ["told", "ended by itself"]
