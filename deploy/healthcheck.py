"""The images' health check: exit code 0 when the plane of this container answers at /health.

`healthcheck.py STATUS_LISTEN` for a data plane, `healthcheck.py ADMIN_LISTEN` for a control plane: the name of the
setting with the address. It is like the liveness probe of the chart; /ready checks more, but may fail for good reasons.
"""

from __future__ import annotations

import os
import ssl
import sys
import urllib.request

EVERYWHERE = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]", "": "127.0.0.1"}  # noqa: S104 - read, not bound


def main() -> int:
    """Send one request; any exception is a failure, too."""
    setting = sys.argv[1]
    host, _, port = os.environ[setting].rpartition(":")
    scheme = "https" if setting == "ADMIN_LISTEN" and os.environ.get("ADMIN_CERT") else "http"
    # Within the container the host differs from the names in the certificate.
    unverified = ssl.create_default_context()
    unverified.check_hostname = False
    unverified.verify_mode = ssl.CERT_NONE
    url = f"{scheme}://{EVERYWHERE.get(host, host)}:{port}/health"
    # Without a proxy from the environment, because this is the same machine.
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=unverified)
    )
    with opener.open(url, timeout=3):
        return 0


if __name__ == "__main__":
    sys.exit(main())
