"""An administrator's pod in a release's namespace, in which `headgate` runs."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass

from tests.support.kubernetes import objects
from tests.support.kubernetes.images import Images
from tests.support.kubernetes.kubectl import Kubectl
from tests.support.kubernetes.manifests import HEADGATE
from tests.support.kubernetes.objects import Object
from tests.support.kubernetes.release import CONTROL_PLANE, NAME

WAIT = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit()); signal.pause()"
SECRET = f"{NAME}-headgate-secrets"


@dataclass(frozen=True, slots=True)
class Administrator:
    """Logged in at the release of this namespace, with the password that the chart generated."""

    kubectl: Kubectl
    images: Images
    name: str = "administrator"

    def start(self) -> None:
        """Start the pod and log in."""
        home = [{"name": "HOME", "value": "/tmp"}]
        spec = objects.pod_spec(self.images.reference("headgate-sdk"), ["python3", "-c", WAIT], env=home)
        self.kubectl.apply(objects.pod(self.name, spec))
        self.kubectl.wait(f"pod/{self.name}", "condition=Ready")
        self.login()

    def login(self) -> None:
        """Log in, as after a change of the signing keys."""
        encoded = self.kubectl.get("secret", SECRET)["data"]["ADMIN_PASSWORD"]
        password = base64.b64decode(encoded).decode()
        url = f"http://{CONTROL_PLANE}:8080"
        self.run("login", url, "--username=admin", "--password-stdin", given=f"{password}\n")

    def run(self, *arguments: str, given: str = "") -> str:
        """`headgate` with these arguments. KubectlError if it fails."""
        return self.kubectl.run("exec", "-i", self.name, "--", *HEADGATE, *arguments, given=given)

    def apply(self, document: Object) -> None:
        """Apply a configuration; returns when every data plane serves it."""
        self.run("apply", "-f", "-", "--wait", given=json.dumps(document))

    def names(self, kind: str) -> set[str]:
        """The names of all resources of a kind."""
        return {each["name"] for each in json.loads(self.run("get", kind, "-o", "json"))}

    def get(self, url: str) -> int:
        """The status that the gateway answers with, for a request from the pod."""
        code = (
            "import sys, urllib.error, urllib.request\n"
            "try: print(urllib.request.urlopen(sys.argv[1]).status)\n"
            "except urllib.error.HTTPError as error: print(error.code)"
        )
        return int(self.kubectl.run("exec", self.name, "--", "python3", "-c", code, url))


def route(name: str) -> Object:
    """A route to a service without instances: the gateway answers 503 on it, and 404 without it."""
    return {
        "services": [{"service_name": "nobody"}],
        "routes": [{"name": name, "prefix": f"/{name}", "service_name": "nobody", "public": True}],
    }
