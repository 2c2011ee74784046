"""Ingress of networking.k8s.io/v1, with annotations of ingress-nginx."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headgate.cli.importing.draft import Draft, Resources
from headgate.cli.importing.ingress_annotations import Annotations, name_of
from headgate.cli.importing.ingress_backends import Backends
from headgate.cli.importing.ingress_paths import matched
from headgate.cli.importing.kong_plugins import redirect_to
from headgate.cli.importing.notes import Note, Unusable, WrongFormat
from headgate.cli.importing.values import header_name, host_match, mapping, objects, text, visible, whole

Entity = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Path:
    """One path of a rule."""

    place: str
    host: str
    entry: Entity


def translate(documents: Sequence[object], http_port: int | None = None) -> tuple[Resources, Sequence[Note]]:
    """The resources, and what differs. Raises WrongFormat."""
    draft = Draft(http_port)
    found = list(_ingresses(documents, draft))
    if not found:
        raise WrongFormat("holds no Ingress of networking.k8s.io/v1")
    made = _Import(draft)
    # A canary joins the routes of its main Ingress.
    for place, ingress in sorted(found, key=lambda one: _is_canary(one[1])):
        made.add(ingress, place)
    return draft.resources(), draft.notes.found


def _ingresses(documents: Sequence[object], draft: Draft) -> Iterator[tuple[str, Entity]]:
    for position, document in enumerate(documents):
        place = f"[{position}]." if len(documents) > 1 else ""
        one = mapping(document)
        several = list(objects(one.get("items"), f"{place}items"))
        for at, ingress in [(f"{at}.", item) for at, item in several] if "items" in one else [(place, one)]:
            if ingress.get("kind") == "Ingress" and ingress.get("apiVersion") == "networking.k8s.io/v1":
                yield at, ingress
            else:
                draft.notes.left_out(
                    f"{at}kind", f"{text(ingress.get('kind'), 'no kind')[:80]}: not an Ingress of v1"
                )


def _is_canary(ingress: Entity) -> bool:
    return Annotations(ingress, "", Draft().notes).on("canary")


class _Import:
    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.notes = draft.notes
        self.backends = Backends(draft)
        self.main: dict[tuple[str, str], dict[str, Any]] = {}
        """Routes by host and path as they were written."""

    def add(self, ingress: Entity, place: str) -> None:
        """The routes of one Ingress."""
        spec, annotations = mapping(ingress.get("spec")), Annotations(ingress, place, self.notes)
        annotations.note_unknown()
        if spec.get("tls"):
            self.notes.left_out(
                f"{place}spec.tls", "certificates: set TLS_CERTS, or a listener with certificates"
            )
        paths = list(self._paths(spec, place))
        try:
            if annotations.on("canary"):
                for path in paths:
                    self._add_canary(ingress, annotations, path)
                return
            common = self._common(ingress, annotations)
        except Unusable as reason:
            self.notes.left_out(reason.place, f"{reason}; the Ingress is left out")
            return
        for path in paths:
            self._add_route(ingress, annotations, path, common)

    def _paths(self, spec: Entity, place: str) -> Iterator[_Path]:
        for at, rule in objects(spec.get("rules"), f"{place}spec.rules"):
            host = host_match(text(rule.get("host"))) or ""
            if rule.get("host") and not host:
                self.notes.left_out(f"{at}.host", "no host that a route can have; the rule is left out")
                continue
            for where, entry in objects(mapping(rule.get("http")).get("paths"), f"{at}.http.paths"):
                yield _Path(where, host, entry)
        if isinstance(spec.get("defaultBackend"), dict):
            yield _Path(f"{place}spec.defaultBackend", "", {"backend": spec["defaultBackend"]})

    def _common(self, ingress: Entity, annotations: Annotations) -> dict[str, Any]:
        """Fields of all routes of an Ingress. Raises Unusable."""
        made = {**annotations.access(), "max_body_bytes": annotations.body()}
        made["rate_limits"] = self._limits(name_of(ingress), annotations)
        for name, status in (("permanent-redirect", 301), ("temporal-redirect", 302)):
            if location := annotations[name]:
                redirect = redirect_to(location, whole(annotations[f"{name}-code"], status, 0, 999))
                if redirect is None:
                    raise Unusable(annotations.at(name), "a redirect that has no counterpart")
                self.notes.changed(annotations.at(name), "the query of the request is kept")
                made.setdefault("redirect", redirect)
        return made

    def _limits(self, name: str, annotations: Annotations) -> list[str]:
        many = max(1, annotations.number("limit-burst-multiplier", 5))
        wanted = [("limit-rps", "second"), ("limit-rpm", "minute")]
        made = []
        for annotation, per in wanted:
            rate = annotations.number(annotation, 0)
            if rate <= 0 and annotations[annotation] not in ("", "0"):
                self.notes.left_out(annotations.at(annotation), "not a number")
            if rate > 0:
                burst = whole(rate * many, 1, 1, 1_000_000)
                made.append({"requests": whole(rate, 1, 1, 1_000_000), "per": per, "burst": burst})
        if (most := annotations.number("limit-connections", 0)) > 0:
            self.notes.changed(annotations.at("limit-connections"), "counts requests under way")
            made.append({"max_concurrent": whole(most, 1, 1, 1_000_000)})
        names = [self.draft.name("rate_limits", name) for _ in made]
        for one, limit in zip(names, made, strict=True):
            self.draft.add("rate_limits", {"name": one, **limit, "key": "address"})
        return names

    def _add_route(self, ingress: Entity, annotations: Annotations, path: _Path, common: Entity) -> None:
        try:
            match = matched(path.entry, path.place, annotations, self.notes)
            target = (
                {}
                if "redirect" in common
                else self.backends.target(ingress, annotations, path.entry, path.place)
            )
        except Unusable as reason:
            self.notes.left_out(reason.place, f"{reason}; the path is left out")
            return
        if "redirect" in common:
            kept = ("prefix", "path", "path_regex")
            match = {name: value for name, value in match.items() if name in kept}
        aliases = [
            one for one in map(host_match, annotations["server-alias"].replace(",", " ").split()) if one
        ]
        hosts = list(dict.fromkeys([path.host, *aliases])) if path.host else []
        name = self.draft.name("routes", f"{name_of(ingress)}-{text(path.entry.get('path')).strip('/')}")
        route = self.draft.add("routes", {"name": name, "hosts": hosts, **match, **target, **common})
        self.main.setdefault((path.host, text(path.entry.get("path"), "/")), route)
        secure = bool(mapping(ingress.get("spec")).get("tls"))
        if annotations.on("force-ssl-redirect") or (secure and annotations.on("ssl-redirect", default=True)):
            named = [one for one in ("force-ssl-redirect", "ssl-redirect") if annotations[one]]
            place = annotations.at(named[0]) if named else path.place
            self.draft.redirect_to_https(route, place, 308)

    def _add_canary(self, ingress: Entity, annotations: Annotations, path: _Path) -> None:
        main = self.main.get((path.host, text(path.entry.get("path"), "/")))
        if main is None or "redirect" in main:
            self.notes.left_out(path.place, "a canary without a path of another Ingress that it belongs to")
            return
        try:
            target = self.backends.target(ingress, annotations, path.entry, path.place)
        except Unusable as reason:
            self.notes.left_out(reason.place, f"{reason}; the path is left out")
            return
        canary = target["service_name"]
        if annotations["canary-by-header"]:
            self._add_by_header(ingress, annotations, main, canary)
        if annotations["canary-weight"]:
            self._add_weight(annotations, main, canary)

    def _add_weight(self, annotations: Annotations, main: dict[str, Any], canary: str) -> None:
        if "services" in main:
            self.notes.left_out(annotations.at("canary-weight"), "a second canary of one path")
            return
        total = whole(annotations["canary-weight-total"], 100, 1, 1_000_000)
        weight = whole(annotations["canary-weight"], 0, 0, total)
        old = {"service_name": main.pop("service_name"), "weight": total - weight}
        main["services"] = [old, {"service_name": canary, "weight": weight}]

    def _add_by_header(self, ingress: Entity, annotations: Annotations, main: Entity, canary: str) -> None:
        header = header_name(annotations["canary-by-header"])
        value = visible(annotations["canary-by-header-value"] or "always")
        if header is None or value is None:
            self.notes.left_out(annotations.at("canary-by-header"), "no header field that a route can match")
            return
        self.notes.changed(annotations.at("canary-by-header"), "the value never has no effect")
        name = self.draft.name("routes", f"{main['name']}-{name_of(ingress)}")
        kept = {field: found for field, found in main.items() if field not in ("services", "service_name")}
        made = {**kept, "name": name, "headers": [{"name": header, "exact": value}], "service_name": canary}
        self.draft.add("routes", made)
