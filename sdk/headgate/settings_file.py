"""Settings that an operator makes once for every service of a machine, container or cluster.

    # /etc/headgate/services.toml, or the file that HEADGATE_CONFIG names
    controlplane = "headgate-controlplane:50051"
    token_file = "/var/run/secrets/headgate/token"
    plain_text_to = ["headgate-controlplane", "*.svc.cluster.local", "10.0.0.0/8"]

Arguments and HEADGATE_ variables take precedence, setting by setting.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, fields
from difflib import get_close_matches
from functools import partial
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

from headgate.errors import Misconfigured

DEFAULT_PATH = Path("/etc/headgate/services.toml")
"""Read where it exists."""


@dataclass(frozen=True, slots=True)
class FileSettings:
    """The content of the file; None or empty for missing settings."""

    controlplane: str | None = None
    """`host:port`, or several separated by commas."""
    token_file: str | None = None
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    plain_text_to: tuple[str, ...] = ()
    """Hosts to which a token may be sent in plain text: host names, `*.` and the end of a name, ranges (CIDR)."""

    def trusts(self, host: str) -> bool:
        """Whether a token may be sent to this host in plain text. Names are compared as written."""
        return any(_covers(entry, host) for entry in self.plain_text_to)


def load() -> FileSettings:
    """Read the file, which may be missing at the default path. Raises Misconfigured, with all problems in one line."""
    named = os.environ.get("HEADGATE_CONFIG")
    path = Path(named) if named else DEFAULT_PATH
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if not named:
            return FileSettings()
        raise Misconfigured(f"HEADGATE_CONFIG: there is no file {path}") from None
    except OSError as error:
        raise Misconfigured(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise Misconfigured(f"{path} is not TOML: not UTF-8 at byte {error.start}") from None
    except tomllib.TOMLDecodeError as error:
        raise Misconfigured(f"{path} is not TOML: {error}") from None
    problems = [problem for name, value in content.items() for problem in _problems(name, value)]
    if problems:
        raise Misconfigured(f"{path}: {'; '.join(problems)}")
    content["plain_text_to"] = tuple(content.get("plain_text_to", ()))
    return FileSettings(**content)


def _problems(name: str, value: Any) -> list[str]:
    known = [field.name for field in fields(FileSettings)]
    if name not in known:
        close = get_close_matches(name, known, 1)
        return [f"{name} is not a setting" + (f"; did you mean {close[0]}?" if close else "")]
    if name != "plain_text_to":
        return [] if isinstance(value, str) and value else [f"{name} must be text"]
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        return ["plain_text_to must be a list of names and networks"]
    return [
        f"plain_text_to: {entry!r} is not a name, *.suffix or network"
        for entry in value
        if not _is_place(entry)
    ]


def _is_place(entry: str) -> bool:
    if "/" in entry or ":" in entry:
        return _parsed(partial(ip_network, strict=False), entry) is not None
    name = entry.removeprefix("*.")
    return bool(name) and not set(name) & set("*/ ")


def _covers(entry: str, host: str) -> bool:
    address, network = _parsed(ip_address, host), _parsed(partial(ip_network, strict=False), entry)
    if address is not None or network is not None:
        return address is not None and network is not None and address in network
    name, entry = host.lower().rstrip("."), entry.lower().rstrip(".")
    return name.endswith(entry[1:]) and name != entry[2:] if entry.startswith("*.") else name == entry


def _parsed(parse: Any, text: str) -> Any:
    try:
        return parse(text)
    except ValueError:
        return None
