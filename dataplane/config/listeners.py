"""Listeners in the table: the router of each, with the routes that attach to it, and the sites of each port."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

from immutables import Map

from dataplane.config.items import Problem, ResourceSet
from dataplane.gateway.policy.resources import DEFAULT_LISTENER, Listener, Route
from dataplane.gateway.policy.router import Router
from dataplane.gateway.policy.sites import NO_ROUTES, Sites
from dataplane.proxy.tls import TlsOptions, TlsPort, TlsSite

Routers: TypeAlias = Map[str, Router]
"""By listener; that of the settings is apart from them."""


def attaches(route: Route, listener: str) -> bool:
    """Whether the listener serves the route."""
    return not route.listeners or listener in route.listeners


def changed(routers: Routers, removed: Iterable[Route], added: Iterable[Route]) -> Routers:
    """The routers without `removed` and with `added`. Routers that are not concerned stay the same objects."""
    before, after = list(removed), list(added)
    for name, router in routers.items():
        gone = [route for route in before if attaches(route, name)]
        new = [route for route in after if attaches(route, name)]
        if gone or new:
            routers = routers.set(name, router.changed(gone, new))
    return routers


def completed(
    routers: Routers, default: Router, attached: Mapping[str, Route], wanted: Iterable[str]
) -> Routers:
    """Routers for exactly the `wanted` listeners. A new one shares the routes of all listeners with `default`.

    `attached`: the routes that name listeners, by name.
    """
    names = set(wanted)
    for name in [name for name in routers if name not in names]:
        routers = routers.delete(name)
    new = sorted(names.difference(routers))
    if new:
        own = [route for route in attached.values() if DEFAULT_LISTENER in route.listeners]
        common = default.changed(own, ())
        for name in new:
            specific = [route for route in attached.values() if name in route.listeners]
            routers = routers.set(name, common.changed((), specific))
    return routers


def sites_of(listeners: Mapping[str, Listener], routers: Routers) -> Map[int, Sites]:
    """The sites of each port."""
    by_port: dict[int, list[tuple[Listener, Router]]] = {}
    for name, listener in sorted(listeners.items()):
        by_port.setdefault(listener.port, []).append((listener, routers.get(name, NO_ROUTES)))
    return Map({port: Sites(sites) for port, sites in by_port.items()})


def _of_port(listener: Listener) -> Mapping[str, object]:
    """What the listeners of a port have in common: it matters before the host is known."""
    names = "protocol", "tls_min", "tls_max", "client_certificate", "client_ca"
    return {name: getattr(listener, name) for name in names} | {"proxy_protocol_from": listener.proxies}


def tls_of(resources: ResourceSet, before: Mapping[int, TlsPort]) -> Map[int, TlsPort]:
    """TLS of each port. Ports without a difference keep their objects."""
    by_port: dict[int, list[Listener]] = {}
    for _, listener in sorted(resources.listener.items()):
        if listener.protocol == "https":
            by_port.setdefault(listener.port, []).append(listener)
    made = {port: _tls_port(resources, found) for port, found in by_port.items()}
    return Map({port: old if (old := before.get(port)) == tls else tls for port, tls in made.items()})


def _tls_port(resources: ResourceSet, found: list[Listener]) -> TlsPort:
    first = found[0]
    required = first.client_certificate == "required"
    options = TlsOptions(first.tls_min, first.tls_max, first.client_ca, required)
    known = resources.certificate
    sites = (TlsSite(one.hostnames, tuple(known[name].served for name in one.certificates)) for one in found)
    return TlsPort(options, tuple(sites))


def problems_of(resources: ResourceSet) -> Iterator[Problem]:
    """Listeners that cannot share a port, or lack a certificate."""
    taken: dict[tuple[int, str], Listener] = {}
    first: dict[int, Listener] = {}
    for name, listener in sorted(resources.listener.items()):
        other = first.setdefault(listener.port, listener)
        for field, ours in _of_port(listener).items():
            if _of_port(other)[field] != ours:
                detail = f"must be that of listener {other.name!r}, which has the same port {other.port}"
                yield Problem(f"listener/{name}", field, detail)
        for position, certificate in enumerate(listener.certificates):
            if certificate not in resources.certificate:
                detail = f"certificate {certificate!r} does not exist"
                yield Problem(f"listener/{name}", f"certificates[{position}]", detail)
        for host in listener.hostnames or ("",):
            holder = taken.setdefault((listener.port, host), listener)
            if holder is not listener:
                detail = f"listener {holder.name!r} serves {host or 'every host'} on port {listener.port}"
                yield Problem(f"listener/{name}", "hostnames", detail)
