"""Kong Gateway: declarative configuration as decK writes it, `_format_version: "3.0"`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from headgate.cli.importing.draft import Draft, Resources
from headgate.cli.importing.kong_plugins import Plugins, Translator, effective, enabled
from headgate.cli.importing.kong_routes import Matches, forwarding
from headgate.cli.importing.kong_tags import labels
from headgate.cli.importing.kong_upstreams import Services, expanded, upstream_host
from headgate.cli.importing.notes import Note, Unusable, WrongFormat
from headgate.cli.importing.values import entries, mapping, number, objects, text

_KNOWN: Final = (
    "_format_version",
    "_info",
    "_plugin_configs",
    "_comment",
    "services",
    "routes",
    "upstreams",
    "plugins",
)
_OWNERS: Final = ("service", "route", "consumer", "consumer_group")

Entity = Mapping[str, Any]


def translate(document: object, http_port: int | None = None) -> tuple[Resources, Sequence[Note]]:
    """The resources, and what differs. Raises WrongFormat."""
    root = mapping(document)
    if not str(root.get("_format_version", "")).startswith("3"):
        raise WrongFormat('is no file of decK with `_format_version: "3.0"`')
    return _Import(root, Draft(http_port)).translated()


class _Import:
    def __init__(self, root: Entity, draft: Draft) -> None:
        self.root = root
        self.draft = draft
        self.notes = draft.notes
        self.upstreams = {
            text(one.get("name")): (at, one) for at, one in objects(root.get("upstreams"), "upstreams")
        }
        self.services = Services(draft, self.upstreams)
        self.plugins = Translator(draft)
        self.matches = Matches(self.notes)

    def translated(self) -> tuple[Resources, Sequence[Note]]:
        for section, found in self.root.items():
            if section not in _KNOWN and found:
                self.notes.left_out(section, f"{len(entries(found)) or 1} of {section}")
        routes = list(objects(self.root.get("routes"), "routes"))
        for place, service in objects(self.root.get("services"), "services"):
            names = _names(service)
            own = [one for one in routes if _owner(one[1], "service") in names]
            self._add_service(service, place, [*objects(service.get("routes"), f"{place}.routes"), *own])
        known = {name for _, one in objects(self.root.get("services"), "") for name in _names(one)}
        for place, route in routes:
            if _owner(route, "service") not in known:
                self._add_routes(None, "", route, place)
        return self.draft.resources(), self.notes.found

    def _add_service(self, given: Entity, place: str, routes: Sequence[tuple[str, Entity]]) -> None:
        if given.get("enabled") is False:
            self.notes.left_out(place, "a service that is not enabled, with its routes")
            return
        try:
            service = expanded(given)
            name = self.services.add(service, place)
        except Unusable as reason:
            self.notes.left_out(reason.place, f"{reason}, with their routes")
            return
        except ValueError:
            self.notes.left_out(f"{place}.url", "not a URL; the service is left out with its routes")
            return
        for at, route in routes:
            self._add_routes(service, name, route, at, place)

    def _add_routes(
        self, service: Entity | None, name: str, route: Entity, place: str, parent: str = ""
    ) -> None:
        try:
            plugins = self._in_force(route, place, service, parent)
            common = self.plugins.fields(plugins)
            if service is None and not {"respond", "redirect"} & set(common):
                raise Unusable(place, "a route without a service")
            common["labels"] = labels(route, place, self.notes)
            for match in self.matches.of(route, place):
                self._add_route(service, name, route, place, match, common)
        except Unusable as reason:
            where = "" if reason.place == place else f"; the route {place} is left out"
            self.notes.left_out(reason.place, f"{reason}{where}")

    def _add_route(
        self, service: Entity | None, name: str, route: Entity, place: str, match: Entity, common: Entity
    ) -> None:
        made: dict[str, Any] = {"name": self.draft.name("routes", text(route.get("name")) or name), **match}
        if service is None or {"respond", "redirect"} & set(common):
            made |= {field: value for field, value in common.items() if field != "request_headers"}
        else:
            host = upstream_host(service, self.upstreams.get(text(service.get("host")), ("", {}))[1])
            made |= {
                "service_name": name,
                **forwarding(service, route, match, host, place, self.notes),
                **common,
            }
        added = self.draft.add("routes", made)
        protocols = route.get("protocols")
        if isinstance(protocols, list) and "https" in protocols and "http" not in protocols:
            status = int(number(route.get("https_redirect_status_code"), 426))
            self.draft.redirect_to_https(
                added, f"{place}.protocols", status if status in (301, 302, 307, 308) else 308
            )

    def _in_force(self, route: Entity, place: str, service: Entity | None, parent: str) -> Plugins:
        levels = [self._plugins("plugins", self.root, {"": ("",)})]
        if service is not None:
            found = self._plugins(f"{parent}.plugins", service, {"": ("",)})
            levels += [self._plugins("plugins", self.root, {"service": _names(service)}), found]
        levels += [
            self._plugins("plugins", self.root, {"route": _names(route)}),
            self._plugins(f"{place}.plugins", route, {"": ("",)}),
        ]
        return effective(*levels)

    def _plugins(self, place: str, holder: Entity, owners: Mapping[str, Sequence[str]]) -> Plugins:
        """Plugins in a list that belong to one of the owners; those for some consumers are left out."""
        made = {}
        for at, plugin in objects(holder.get("plugins"), place):
            named = [kind for kind in _OWNERS if _owner(plugin, kind)]
            if "consumer" in named or "consumer_group" in named:
                self.notes.left_out(at, f"plugin {text(plugin.get('name'))[:80]} for some consumers")
                continue
            if not enabled(plugin):
                continue
            wanted = (
                named == []
                if "" in owners
                else any(_owner(plugin, kind) in names for kind, names in owners.items())
            )
            if wanted:
                made[text(plugin.get("name"))] = (at, self._config(plugin))
        return made

    def _config(self, plugin: Entity) -> Entity:
        shared = mapping(self.root.get("_plugin_configs")).get(text(plugin.get("_config")))
        return {**mapping(shared), **mapping(plugin.get("config"))}


def _names(entity: Entity) -> tuple[str, ...]:
    return tuple(text(entity[field]) for field in ("name", "id") if entity.get(field))


def _owner(entity: Entity, kind: str) -> str:
    """The name or the id of the entity that it refers to."""
    found = entity.get(kind)
    return text(found) or next(iter(_names(mapping(found))), "")
