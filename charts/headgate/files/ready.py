"""The test of a release: `ready.py ADMIN_URL GATEWAY_URL`. Code 0: both planes serve one configuration.

A control plane must be ready, the gateway must answer, and every data plane must serve the published revision.
"""

from __future__ import annotations

import re
import ssl
import sys
import time
import urllib.error
import urllib.request

WITHIN = 60.0
PUBLISHED = r"^headgate_controlplane_published_revision (\S+)"
SERVED = r"^headgate_controlplane_dataplane_acked_revision\{node=\"([^\"]+)\"\} (\S+)"


class NotYet(Exception):
    """The reason why the release is not ready."""


def main(admin: str, gateway: str) -> int:
    """Try until everything is ready, or the time is over."""
    until = time.monotonic() + WITHIN
    while True:
        try:
            print(check(admin, gateway))
            return 0
        except (NotYet, OSError) as error:
            if time.monotonic() > until:
                print(f"not ready after {WITHIN:g} s: {error}")
                return 1
        time.sleep(1)


def check(admin: str, gateway: str) -> str:
    """One line about the release. Raises NotYet, OSError."""
    get(f"{admin}/ready")
    get(f"{gateway}/health")
    metrics = get(f"{admin}/metrics")
    published = int(float(re.findall(PUBLISHED, metrics, re.MULTILINE)[0]))
    served = {node: int(float(revision)) for node, revision in re.findall(SERVED, metrics, re.MULTILINE)}
    if not served:
        raise NotYet("no data plane is connected")
    behind = [f"{node} serves {revision}" for node, revision in served.items() if revision < published]
    if behind:
        raise NotYet(f"revision {published} is published, but {', '.join(behind)}")
    return f"both planes are ready; {len(served)} data planes serve revision {published}"


def get(url: str) -> str:
    """The body of the answer. Raises NotYet, OSError."""
    # Nothing secret is sent or read, and a release may have a certificate for its public name alone.
    unverified = ssl.create_default_context()
    unverified.check_hostname = False
    unverified.verify_mode = ssl.CERT_NONE
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=unverified)
    )
    try:
        with opener.open(url, timeout=5) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        raise NotYet(f"{url} answers {error.code}: {error.read().decode(errors='replace')[:500]}") from None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
