"""The certificates of a port that listeners share, chosen by the client's server name (SNI).

The name selects the listener, by its most specific hostname, and then one of its certificates: by exact name, by a
wildcard for the first label (RFC 9525 section 6.3), else the first. Certificates of one name with keys of different
types make one context, in which OpenSSL chooses by the client's algorithms. Contexts are made when they are first
needed, and kept until their certificates change.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import Final

from dataplane.proxy.tls import ASKED_FOR, Chain, Served, TlsOptions, TlsPort, TlsSite, site_context

_REFUSED: Final = ssl.AlertDescription.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
_Group = tuple[Served, ...]


class _Names:
    """The certificates of one listener, by name."""

    __slots__ = ("_by_name", "_default", "site")

    def __init__(self, site: TlsSite) -> None:
        self.site = site
        by_name: dict[str, list[Served]] = {}
        for served in site.certificates:
            for name in served.names:
                by_name.setdefault(name, []).append(served)
        self._by_name: dict[str, _Group] = {name: tuple(found) for name, found in by_name.items()}
        self._default: _Group = site.certificates[:1]

    def find(self, name: str) -> _Group:
        """For a server name in lower case; the default for an empty or unknown one."""
        by_name = self._by_name
        return by_name.get(name) or by_name.get(f"*.{name.partition('.')[2]}") or self._default


class PortFront:
    """Chooses the context of each handshake."""

    context: ssl.SSLContext
    """For the next handshake."""

    def __init__(self, port: TlsPort) -> None:
        """Raises BadChain."""
        self._options = port.options
        self._made: dict[_Group, ssl.SSLContext] = {}
        self._exact: dict[str, _Names] = {}
        self._wildcards: dict[str, _Names] = {}
        """Keyed by the part after the "*"."""
        self._any: _Names | None = None
        self.port = port
        self._index({}, port)

    def adopt(self, port: TlsPort) -> None:
        """Use these from the next handshake on. Raises BadChain; then nothing has changed."""
        before = {names.site: names for names in self._all()}
        kept = self._options, self._made, self._exact, self._wildcards, self._any
        if port.options != self._options:
            self._options, self._made = port.options, {}
        try:
            self._index(before, port)
        except Exception:
            self._options, self._made, self._exact, self._wildcards, self._any = kept
            raise

    def find(self, name: str) -> ssl.SSLContext | None:
        """The context for a server name in lower case; None if no listener serves it."""
        names = self._exact.get(name)
        dot = name.find(".", 1) if names is None and self._wildcards else -1
        while names is None and dot > 0:
            names = self._wildcards.get(name[dot:])
            dot = name.find(".", dot + 1)
        if names is None:
            names = self._any
        return None if names is None else self._context(names.find(name))

    def _index(self, before: dict[TlsSite, _Names], port: TlsPort) -> None:
        self._exact, self._wildcards, self._any = {}, {}, None
        for site in port.sites:
            names = before.get(site) or _Names(site)
            for host in site.hostnames or ("",):
                if not host:
                    self._any = names
                elif host.startswith("*."):
                    self._wildcards[host[1:]] = names
                else:
                    self._exact[host] = names
        present = {served for site in port.sites for served in site.certificates}
        self._made = {
            group: context for group, context in self._made.items() if all(one in present for one in group)
        }
        default = self._any or next(self._all())
        self.context = self._context(default.find(""))
        self.context.sni_callback = self._choose
        self.port = port

    def _all(self) -> Iterator[_Names]:
        found = [*self._exact.values(), *self._wildcards.values()]
        return iter(found if self._any is None else [*found, self._any])

    def _context(self, group: _Group) -> ssl.SSLContext:
        made = self._made.get(group)
        if made is None:
            made = self._made[group] = site_context(self._options, _one_of_each_type(group))
        return made

    def _choose(self, connection: ssl.SSLObject, name: str | None, shown: ssl.SSLContext) -> int | None:
        name = (name or "").lower().rstrip(".")
        found = self.find(name)
        if found is None:
            return _REFUSED
        # A server's side has no place for it of its own.
        setattr(connection, ASKED_FOR, name)
        # The change copies certificates, and costs more than all the rest of this.
        if found is not shown:
            connection.context = found
        return None


def _one_of_each_type(group: _Group) -> list[Chain]:
    """OpenSSL keeps the last certificate of each type of key: the first one counts, so it comes last."""
    return [served.chain for served in reversed(group)]


__all__ = ["PortFront", "TlsOptions"]
