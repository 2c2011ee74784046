"""A connection to the API server, for the parts of the cluster that are our own."""

from __future__ import annotations

import base64
import json
import ssl
from pathlib import Path

import httpx


def connect(kubeconfig: Path) -> httpx.Client:
    """As the user of a kubeconfig that `credentials` made."""
    document = json.loads(kubeconfig.read_text())
    cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    return httpx.Client(
        base_url=cluster["server"],
        headers={"Authorization": f"Bearer {user['token']}"},
        verify=ssl.create_default_context(cadata=authority),
        trust_env=False,
    )
