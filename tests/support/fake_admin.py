"""The admin API in memory, as an httpx transport, for tests of the command line."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

import httpx

NAMES = {"services": "service_name", "users": "username", "issuers": "issuer"}
SINGULARS = {
    "services": "service",
    "routes": "route",
    "scopes": "scope",
    "users": "user",
    "rate_limits": "rate_limit",
    "listeners": "listener",
    "pools": "pool",
    "certificates": "certificate",
    "issuers": "issuer",
}


class FakeAdmin:
    """One user, resources by section, and views that tests fill in.

    `rollouts` are the answers of `/rollouts`, each given once.

    Switches: `anonymous_read`, `refuse` (answers every apply with these errors), `override` (answers everything),
    `node` (the data plane that answers /health, as through the gateway), `warn` (warnings of every apply), `lacks` (the
    missing scope of the user), `interrupt_after_rollouts` (Ctrl-C after the last rollout). `end_access()` and
    `end_login()` invalidate the tokens issued so far.
    """

    def __init__(self) -> None:
        self.username, self.password = "admin", "correct horse"
        self.sections: dict[str, dict[str, dict[str, Any]]] = {section: {} for section in SINGULARS}
        self.views: dict[str, list[dict[str, Any]]] = {"services": [], "circuits": [], "dataplanes": []}
        self.rivals: list[Callable[[], None]] = []
        """Changes of others, each before the next change of a document, which then gets 412."""
        self.rollouts: list[dict[str, Any]] = []
        self.past: dict[str, Any] = {"history": [], "diff": []}
        self.drained: list[str] = []
        self.queries: list[dict[str, str]] = []
        self.revision = 1
        self.expires_in = 900
        self.anonymous_read = False
        self.node = ""
        self.refuse: list[dict[str, str]] = []
        self.warn: list[dict[str, str]] = []
        self.lacks = ""
        self.openapi: dict[str, Any] = {}
        self.interrupt_after_rollouts = False
        self.old = False
        """It does not give the whole configuration at once."""
        self.override: Callable[[httpx.Request], httpx.Response] | None = None
        self.frozen = ""
        self.requests: list[str] = []
        self.unchanged = 0
        """Lists that the client had already."""
        self.authorities: list[Path | None] = []
        self.resets: list[str] = []
        self.limits: list[dict[str, Any]] = []
        self.receipts: dict[str, dict[str, Any]] = {}
        """The answer to a reset of a key."""
        self._access: set[str] = set()
        self._refresh: set[str] = set()
        self._count = 0

    def end_access(self) -> None:
        """Access tokens are refused from now on."""
        self._access.clear()

    def accept(self, token: str) -> None:
        """Accept this access token, too."""
        self._access.add(token)

    def end_login(self) -> None:
        """Refresh tokens, too."""
        self._access.clear()
        self._refresh.clear()

    def store(self) -> dict[str, Any]:
        """GET /store."""
        served = {"revision": self.revision, "lineage": {"id": "a", "epoch": 0}}
        return {
            "connected": True,
            "frozen": bool(self.frozen),
            "reason": self.frozen,
            "served": served,
            **served,
        }

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = [unquote(part) for part in request.url.raw_path.decode().partition("?")[0].split("/")[1:]]
        self.requests.append(f"{request.method} {'/'.join(path)}")
        if self.override is not None:
            return self.override(request)
        if path == ["health"]:
            node = {"node": self.node} if self.node else {}
            facts = {"status": "ok", "version": "1.2.3", "revision": self.revision}
            return httpx.Response(200, json=facts | node)
        if path[2:] == ["auth", "token"]:
            return self._token(parse_qs(request.content.decode()))
        if path[2:] == ["auth", "revoke"]:
            self.end_login()
            return httpx.Response(200, json={})
        sent = request.headers.get("authorization", "").removeprefix("Bearer ")
        anonymous = self.anonymous_read and request.method == "GET" and not sent
        if sent not in self._access and not anonymous:
            return problem(401, "Could not validate credentials")
        if self.lacks and request.method != "GET":
            challenge = f'Bearer realm="headgate", error="insufficient_scope", scope="{self.lacks}"'
            return problem(403, "Not enough permissions", headers={"WWW-Authenticate": challenge})
        return self._answer(request, path[2:])

    def _list(self, request: httpx.Request, found: list[dict[str, Any]]) -> httpx.Response:
        tag = {"ETag": _tag({"all": found})}
        if request.headers.get("if-none-match") == tag["ETag"]:
            self.unchanged += 1
            return httpx.Response(304, headers=tag)
        return httpx.Response(200, json=found, headers=tag)

    def _limits(self, query: dict[str, str]) -> httpx.Response:
        self.queries.append(query)
        wanted = query.get("limit")
        found = [limit for limit in self.limits if wanted in (None, limit["name"])]
        if wanted is not None and not found:
            return problem(404, f"rate limit {wanted!r} does not exist")
        return httpx.Response(200, json=found)

    def _token(self, form: dict[str, list[str]]) -> httpx.Response:
        fields = {name: values[0] for name, values in form.items()}
        by_password = (fields.get("username"), fields.get("password")) == (self.username, self.password)
        if not by_password and fields.get("refresh_token") not in self._refresh:
            return httpx.Response(
                400, json={"error": "invalid_grant", "error_description": "Wrong user or password"}
            )
        self._refresh.discard(fields.get("refresh_token", ""))
        self._count += 1
        access, refresh = f"access-{self._count}", f"refresh-{self._count}"
        self._access.add(access)
        self._refresh.add(refresh)
        tokens = {"access_token": access, "refresh_token": refresh, "token_type": "Bearer"}
        return httpx.Response(200, json={**tokens, "expires_in": self.expires_in})

    def _answer(self, request: httpx.Request, path: list[str]) -> httpx.Response:
        match [request.method, *path]:
            case ["GET", "config"]:
                if self.old:
                    return problem(404, "Not Found")
                wanted = request.url.params.get_list("label")
                return httpx.Response(
                    200,
                    json={
                        section: [
                            {field: value for field, value in one.items() if field != "password"}
                            for one in known.values()
                            if _has(one, wanted)
                        ]
                        for section, known in self.sections.items()
                        if known
                    },
                )
            case ["GET", "config", plural]:
                found = self.sections[plural.replace("-", "_")].values()
                wanted = request.url.params.get_list("label")
                return self._list(request, [one for one in found if _has(one, wanted)])
            case [method, "config", plural, name]:
                section = self.sections[plural.replace("-", "_")]
                if name not in section:
                    return problem(404, f"there is no {name}")
                if method == "DELETE":
                    return self._delete(plural, name, "dry_run" in request.url.params)
                if method == "PUT" and request.headers.get("if-match") != _tag(section[name]):
                    return problem(412, "It was changed meanwhile")
                if method != "GET" and self.refuse:
                    return problem(400, "The configuration has problems", errors=self.refuse)
                if method == "PUT":
                    section[name] = json.loads(request.content)
                if method == "PATCH":
                    patched = {**section[name], **json.loads(request.content)}
                    if "dry_run" in request.url.params:
                        same = {"ETag": _tag(patched)} if patched == section[name] else {}
                        return httpx.Response(200, json=patched, headers=same)
                    section[name] = patched
                shown = {field: value for field, value in section[name].items() if field != "password"}
                return httpx.Response(200, json=shown, headers={"ETag": _tag(section[name])})
            case ["GET", "openapi.json"]:
                return httpx.Response(200, json=self.openapi)
            case ["DELETE", "services", service, "instances", instance, "drain"]:
                if not self._registered(service, instance):
                    return problem(404, f"instance '{service}/{instance}' does not exist")
                if f"{service}/{instance}" in self.drained:
                    self.drained.remove(f"{service}/{instance}")
                return httpx.Response(202, json={"revision": self.revision})
            case ["GET", "store"]:
                return httpx.Response(200, json=self.store())
            case ["POST", "store", "confirm"]:
                self.frozen = ""
                return httpx.Response(200, json={"revision": self.revision, "reason": "", "lineage": {}})
            case ["GET", view] if view in self.views:
                return httpx.Response(200, json=self.views[view])
            case ["POST", "circuits", service, "reset"]:
                if service not in {circuit["service_name"] for circuit in self.views["circuits"]}:
                    return problem(404, f"there is no service {service!r}")
                self.resets.append(service)
                return httpx.Response(200, json={"revision": self.revision})
            case ["GET", "rate-limits"]:
                return self._limits(dict(request.url.params))
            case ["DELETE", "rate-limits", key]:
                self.resets.append(key)
                if key not in self.receipts:
                    return problem(404, f"No bucket of any limit has the key {key!r}; GET shows more")
                return httpx.Response(200, json=self.receipts[key])
            case ["GET", "rollouts", _]:
                self.queries.append(dict(request.url.params))
                if not self.rollouts:
                    if self.interrupt_after_rollouts:
                        raise KeyboardInterrupt
                    raise httpx.ReadError("lost", request=request)
                return httpx.Response(200, json=self.rollouts.pop(0))
            case ["GET", ("history" | "diff") as view]:
                self.queries.append(dict(request.url.params))
                return httpx.Response(200, json=self.past[view])
            case ["POST", "rollback"]:
                return self._roll_back(json.loads(request.content)["to"], "dry_run" in request.url.params)
            case ["POST", "services", service, "instances", instance, "drain"]:
                if not self._registered(service, instance):
                    return problem(404, f"instance '{service}/{instance}' does not exist")
                self.queries.append(dict(request.url.params))
                self.drained.append(f"{service}/{instance}")
                return httpx.Response(200, json={"revision": self.revision})
            case ["GET", "services", service, "instances", instance, "verdicts"]:
                named = {"service_name": service, "instance_id": instance}
                votes = {"status": "healthy", "reason": "", "healthy": 1, "unhealthy": 0, "starting": 0}
                none = {"judges": [], "verdicts": [], "noted_since": "2026-11-30T03:00:00.000Z"}
                return httpx.Response(200, json=named | votes | none)
            case ["POST", "apply"]:
                return self._apply(json.loads(request.content), request.url.params)
        return problem(404, "Not Found")

    def _delete(self, plural: str, name: str, dry_run: bool) -> httpx.Response:
        """Refused while a route names it."""
        field = {"services": "service_name", "scopes": "scopes", "rate_limits": "rate_limits"}.get(plural, "")
        section = plural.replace("-", "_")
        needed_by = [
            {"kind": "route", "name": route}
            for route, one in self.sections["routes"].items()
            if one.get(field) == name or name in list(one.get(field) or ())
        ]
        if needed_by:
            said = [
                {"field": "", "detail": f"{SINGULARS[section]} {name!r} is needed by route {one['name']!r}"}
                for one in needed_by
            ]
            detail = "The configuration has 1 problem; nothing was changed"
            return problem(400, detail, errors=said, needed_by=needed_by)
        if not dry_run:
            del self.sections[section][name]
        return httpx.Response(204)

    def _registered(self, service: str, instance: str) -> bool:
        """Whether there is such an instance; in a fake without services, every instance exists."""
        known = self.views["services"]
        return not known or any(
            one["service_name"] == service and instance in one["instances"] for one in known
        )

    def _roll_back(self, to: int, dry_run: bool) -> httpx.Response:
        if to > self.revision:
            return problem(404, f"revision '{to}' does not exist")
        self.revision += not dry_run
        changes = [{"action": "delete", "kind": "route", "name": "orders"}]
        return httpx.Response(200, json={"revision": self.revision, "changes": changes})

    def _apply(self, document: dict[str, Any], query: httpx.QueryParams) -> httpx.Response:
        dry_run = "dry_run" in query
        if self.refuse:
            return problem(400, "The configuration has problems; nothing was changed", errors=self.refuse)
        if "prune" in query:
            self.queries.append(dict(query))
        gone, kept = self._pruned(document, query.get_list("label")) if "prune" in query else ([], [])
        if self.rivals and not dry_run:
            self.rivals.pop(0)()
            return problem(412, "The configuration was changed since the dry run")
        changes = []
        for section, entries in document.items():
            for entry in entries:
                name = entry[NAMES.get(section, "name")]
                known = self.sections[section].get(name)
                same = known is not None and all(known.get(field) == value for field, value in entry.items())
                action = "create" if known is None else "unchanged" if same else "update"
                changes.append({"action": action, "kind": SINGULARS[section], "name": name})
                if not dry_run:
                    self.sections[section][name] = entry
        for section, name in gone:
            changes.append({"action": "delete", "kind": SINGULARS[section], "name": name})
            if not dry_run:
                del self.sections[section][name]
        self.revision += not dry_run
        more: dict[str, Any] = {"warnings": self.warn} if self.warn else {}
        more |= {"plan": f"{self.revision:032x}"} if dry_run else {}
        more |= {"kept": kept} if kept else {}
        return httpx.Response(200, json={"revision": self.revision, "changes": changes, **more})

    def _pruned(
        self, document: dict[str, Any], labels: Sequence[str]
    ) -> tuple[list[tuple[str, str]], list[dict[str, str]]]:
        """What is deleted, as section and name; users are kept."""
        gone, kept = [], []
        for section, known in self.sections.items():
            declared = {one[NAMES.get(section, "name")] for one in document.get(section) or ()}
            for name, one in known.items():
                if name in declared or not _has(one, labels):
                    continue
                if section == "users":
                    kept.append({"kind": "user", "name": name, "reason": "users stay (users=true)"})
                else:
                    gone.append((section, name))
        return gone, kept


def _tag(resource: Mapping[str, Any]) -> str:
    return f'"{json.dumps(resource).encode().hex()}"'


def _has(resource: Mapping[str, Any], wanted: Sequence[str]) -> bool:
    labels = resource.get("labels", {})
    pairs = (label.partition("=") for label in wanted)
    return all(labels.get(name) == value if equals else name in labels for name, equals, value in pairs)


def problem(
    status: int, detail: str, *, headers: Mapping[str, str] | None = None, **more: Any
) -> httpx.Response:
    """An RFC 9457 answer."""
    return httpx.Response(
        status,
        json={"status": status, "detail": detail, **more},
        headers={"Content-Type": "application/problem+json", **(headers or {})},
    )
