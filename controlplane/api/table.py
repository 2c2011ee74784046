"""Every operation of the admin API, in one table: routes, guards and OpenAPI are all made from it."""

from __future__ import annotations

from collections.abc import Iterator

from starlette.responses import Response

from controlplane.api import (
    drain,
    health,
    history,
    resources,
    rollout,
    service_token,
    shapes,
    store,
    token,
    views,
)
from controlplane.api.answers import json_answer
from controlplane.api.apply import apply
from controlplane.api.body import FORM
from controlplane.api.openapi import describe
from controlplane.api.operation import (
    ADMIN,
    READ,
    Access,
    Answer,
    Body,
    Call,
    Handler,
    Operation,
    Parameter,
    many,
)
from controlplane.model.resources import PLURALS, Resource

ROOT = "/api/v1"

_IF_MATCH = Parameter("If-Match", "Only if the resource has this ETag; * for any.", "header")
_IF_NONE_MATCH = Parameter("If-None-Match", "Only if the ETag is another.", "header")
_ONLY_NEW = Parameter("If-None-Match", "* : only if there is no such resource yet.", "header")
_DRY_RUN = Parameter("dry_run", "Only say what would change.", schema={"type": "boolean", "default": False})

_TEXT = {"type": "string"}
_TOKEN_FORM = {
    "type": "object",
    "properties": {
        "grant_type": {"enum": ["password", "client_credentials", "refresh_token"], "default": "password"},
        "username": _TEXT,
        "password": {**_TEXT, "format": "password"},
        "client_id": _TEXT,
        "client_secret": {**_TEXT, "format": "password"},
        "refresh_token": _TEXT,
        "scope": {**_TEXT, "description": "Separated by spaces; left out: all that the user holds."},
    },
}
_REVOCATION_FORM = {
    "type": "object",
    "required": ["token"],
    "properties": {"token": _TEXT, "token_type_hint": _TEXT},
}
_DOCUMENT = {
    "type": "object",
    "description": "Resources by kind. What is left out is left alone.",
    "additionalProperties": False,
    "properties": {plural: many(model) for plural, model in PLURALS.items()},
}
_JWKS = {"type": "object", "properties": {"keys": {"type": "array", "items": {"type": "object"}}}}
_OBJECT = {"type": "object"}


async def openapi(call: Call) -> Response:
    """This table, described."""
    return json_answer(describe(TABLE, call.parts.version))


def _identity() -> Iterator[Operation]:
    yield Operation(
        method="POST",
        path=f"{ROOT}/auth/token",
        handler=token.token,
        access="public",
        id="getToken",
        summary="Get tokens (OAuth 2.0); errors as in RFC 6749 §5.2",
        answers=(Answer(200, "Tokens", shapes.TokenShape),),
        tag="identity",
        body=Body(_TOKEN_FORM, (FORM,)),
        refusals=(401, 429, 503),
        refusal=shapes.TokenErrorShape,
    )
    yield Operation(
        method="POST",
        path=f"{ROOT}/auth/revoke",
        handler=token.revoke,
        access="public",
        id="revokeToken",
        summary="End the login that a refresh token belongs to (RFC 7009)",
        answers=(Answer(200, "The token is of no use any more; also when it never was", _OBJECT),),
        tag="identity",
        body=Body(_REVOCATION_FORM, (FORM,)),
        refusals=(401, 429, 503),
        refusal=shapes.TokenErrorShape,
    )
    yield Operation(
        method="POST",
        path=f"{ROOT}/auth/service-token",
        handler=service_token.create,
        access=ADMIN,
        id="createServiceToken",
        summary="Make a token with which one service, and no other, registers its instances",
        answers=(Answer(201, "The token, which is kept nowhere", shapes.ServiceTokenShape),),
        tag="identity",
        body=Body(service_token.ServiceTokenRequest),
        refusals=(503,),
    )
    for operation_id, prefix in (("getKeys", ""), ("getKeysUnderRoot", ROOT)):
        yield Operation(
            method="GET",
            path=f"{prefix}/.well-known/jwks.json",
            handler=token.jwks,
            access="public",
            id=operation_id,
            summary="The public keys that verify tokens (RFC 7517)",
            answers=(Answer(200, "JWK set", _JWKS),),
            tag="identity",
            refusals=(503,),
        )


def _config() -> Iterator[Operation]:
    yield Operation(
        method="POST",
        path=f"{ROOT}/apply",
        handler=apply,
        access=ADMIN,
        id="apply",
        summary="Create or update everything a document declares, or nothing of it",
        answers=(
            Answer(200, "What became of each resource", shapes.ReceiptShape),
            Answer(202, "The same; decided, and not in place yet", shapes.ReceiptShape),
        ),
        tag="configuration",
        body=Body(_DOCUMENT),
        parameters=(_DRY_RUN, *rollout.PARAMETERS),
        refusals=(409, 504),
    )
    for plural, model in PLURALS.items():
        yield from _crud(model, f"{ROOT}/config/{plural.replace('_', '-')}")
    # The plain names of those kinds that have no view of the fleet.
    for plural in ("routes", "scopes", "users", "issuers"):
        model = PLURALS[plural]
        yield _list(model, f"{ROOT}/{plural}", f"get{_words(plural)}")
        yield _read(model, f"{ROOT}/{plural}/{{name}}", f"get{model.__name__}")


def _history() -> Iterator[Operation]:
    yield _get(
        f"{ROOT}/history",
        history.changes,
        "getHistory",
        "The changes of the configuration that are on record",
        Answer(200, "The newest first", many(shapes.ChangeRecordShape)),
        tag="configuration",
        parameters=history.PARAMETERS,
        refusals=(400,),
    )
    yield _get(
        f"{ROOT}/history/{{revision}}",
        history.change,
        "getChange",
        "One change with the resources before and after",
        Answer(200, "The change", shapes.RecordShape),
        tag="configuration",
        refusals=(404,),
    )
    yield _get(
        f"{ROOT}/diff",
        history.diff,
        "getDiff",
        "What leads from the configuration at one revision to that at another",
        Answer(200, "By kind and name", many(shapes.EditShape)),
        tag="configuration",
        parameters=history.BETWEEN,
        refusals=(400, 404),
    )
    yield Operation(
        method="POST",
        path=f"{ROOT}/rollback",
        handler=history.rollback,
        access=ADMIN,
        id="rollback",
        summary="Make the configuration again what it was at a revision, as a new change",
        answers=(
            Answer(200, "What became of each resource", shapes.ReceiptShape),
            Answer(202, "The same; decided, and not in place yet", shapes.ReceiptShape),
        ),
        tag="configuration",
        body=Body(shapes.RollbackShape),
        parameters=(_DRY_RUN, *rollout.PARAMETERS),
        refusals=(404, 409, 504),
    )


def _crud(model: type[Resource], path: str) -> Iterator[Operation]:
    one, name, what = f"{path}/{{name}}", model.__name__, model.KIND.replace("_", " ")
    yield _list(model, path, f"listConfig{name}")
    yield Operation(
        method="POST",
        path=path,
        handler=resources.create(model.KIND),
        access=ADMIN,
        id=f"createConfig{name}",
        summary=f"Create a {what}",
        answers=(Answer(201, "As it is stored", model, etag=True),),
        tag="configuration",
        body=Body(model),
        refusals=(409,),
    )
    yield _read(model, one, f"readConfig{name}")
    yield Operation(
        method="PUT",
        path=one,
        handler=resources.put(model.KIND),
        access=ADMIN,
        id=f"putConfig{name}",
        summary=f"Create a {what}, or replace it as a whole",
        answers=(
            Answer(200, "Replaced, or the same already", model, etag=True),
            Answer(201, "Created", model, etag=True),
        ),
        tag="configuration",
        body=Body(model),
        parameters=(_IF_MATCH, _ONLY_NEW),
        refusals=(409, 412),
    )
    yield Operation(
        method="DELETE",
        path=one,
        handler=resources.delete(model.KIND),
        access=ADMIN,
        id=f"deleteConfig{name}",
        summary=f"Delete a {what} that nothing needs any more",
        answers=(Answer(204, "Deleted"),),
        tag="configuration",
        parameters=(_IF_MATCH,),
        refusals=(400, 404, 409, 412),
    )


def _list(model: type[Resource], path: str, operation_id: str) -> Operation:
    return _get(
        path,
        resources.list_all(model.KIND),
        operation_id,
        f"Every {model.KIND.replace('_', ' ')}, by name",
        Answer(200, "Sorted by name", many(model)),
        tag="configuration",
    )


def _read(model: type[Resource], path: str, operation_id: str) -> Operation:
    return _get(
        path,
        resources.read(model.KIND),
        operation_id,
        f"One {model.KIND.replace('_', ' ')}",
        Answer(200, "As it is stored", model, etag=True),
        Answer(304, "The client has it already"),
        tag="configuration",
        parameters=(_IF_NONE_MATCH,),
        refusals=(404,),
    )


def _fleet() -> Iterator[Operation]:
    yield _get(
        f"{ROOT}/services",
        views.services,
        "getServices",
        "Every service with its instances and their status",
        Answer(200, "Sorted by name", many(shapes.ServiceShape)),
    )
    yield _get(
        f"{ROOT}/services/{{name}}",
        views.service,
        "getService",
        "One service with its instances and their status",
        Answer(200, "The service", shapes.ServiceShape),
        refusals=(404,),
    )
    yield Operation(
        method="POST",
        path=f"{ROOT}/services/{{service}}/instances/{{instance}}/drain",
        handler=drain.drain,
        access=ADMIN,
        id="drainInstance",
        summary="Let an instance take no new requests, and wait for those under way",
        answers=(
            Answer(200, "Nothing is under way there any more", shapes.RolloutShape),
            Answer(202, "The order is on its way to the data planes", shapes.RevisionShape),
        ),
        tag="fleet",
        parameters=rollout.PARAMETERS[:1],
        refusals=(400, 404, 504),
    )
    yield _get(
        f"{ROOT}/circuits",
        views.circuits,
        "getCircuits",
        "The circuit breaker of every service",
        Answer(200, "Sorted by service", many(shapes.CircuitShape)),
    )
    yield Operation(
        method="POST",
        path=f"{ROOT}/circuits/{{service}}/reset",
        handler=views.reset_circuit,
        access=ADMIN,
        id="resetCircuit",
        summary="Close a service's breaker on every data plane, and forget its failures",
        answers=(Answer(202, "The order is on its way to the data planes", shapes.RevisionShape),),
        tag="fleet",
        refusals=(404,),
    )
    yield _get(
        f"{ROOT}/rate-limits",
        views.rate_limits,
        "getRateLimits",
        "Every rate limit with the buckets in use",
        Answer(200, "Sorted by name", many(shapes.RateLimitShape)),
    )
    yield Operation(
        method="DELETE",
        path=f"{ROOT}/rate-limits/{{key:path}}",
        handler=views.reset_rate_limit,
        access=ADMIN,
        id="resetRateLimit",
        summary="Fill up the buckets of a caller key on every data plane",
        answers=(Answer(202, "The order is on its way to the data planes", shapes.RevisionShape),),
        tag="fleet",
        refusals=(400,),
    )
    yield _get(
        f"{ROOT}/dataplanes",
        views.dataplanes,
        "getDataplanes",
        "Every data plane, what it serves and what it refused",
        Answer(200, "Sorted by node", many(shapes.DataplaneShape)),
    )
    yield _get(
        f"{ROOT}/rollouts/{{revision}}",
        rollout.rollout,
        "getRollout",
        "How far the data planes are with a revision",
        Answer(200, "Where each of them is", shapes.RolloutShape),
        parameters=rollout.PARAMETERS,
        refusals=(400, 404),
    )


def _store() -> Iterator[Operation]:
    yield _get(
        f"{ROOT}/store",
        store.show,
        "getStore",
        "The store, and whether what it holds is published",
        Answer(200, "As this control plane sees it", shapes.StoreShape),
    )
    yield Operation(
        method="POST",
        path=f"{ROOT}/store/confirm",
        handler=store.confirm,
        access=ADMIN,
        id="confirmStore",
        summary="Let a store that was wiped, restored or replaced be published, whatever it holds",
        answers=(Answer(200, "It is published from this revision on", shapes.ConfirmedShape),),
        tag="fleet",
        refusals=(409,),
    )


def _process() -> Iterator[Operation]:
    yield _get(
        f"{ROOT}/openapi.json", openapi, "getOpenapi", "This description", Answer(200, "OpenAPI", _OBJECT)
    )
    for path, handler, summary, answer in (
        ("/health", health.health, "Whether the process lives", Answer(200, "It does", shapes.HealthShape)),
        ("/metrics", health.metrics, "Metrics", Answer(200, "For Prometheus", _TEXT, "text/plain")),
    ):
        yield _get(path, handler, f"get{path[1:].title()}", summary, answer, access="public", tag="process")
    yield _get(
        "/ready",
        health.ready,
        "getReady",
        "Whether requests can be answered",
        Answer(200, "They can", shapes.ReadyShape),
        Answer(503, "Not yet, and why", shapes.ReadyShape),
        access="public",
        tag="process",
    )


def _get(
    path: str,
    handler: Handler,
    operation_id: str,
    summary: str,
    *answers: Answer,
    access: Access = READ,
    tag: str = "fleet",
    parameters: tuple[Parameter, ...] = (),
    refusals: tuple[int, ...] = (),
) -> Operation:
    return Operation(
        "GET", path, handler, access, operation_id, summary, answers, tag, None, parameters, refusals
    )


def _words(plural: str) -> str:
    return plural.title().replace("_", "")


TABLE: tuple[Operation, ...] = (*_identity(), *_config(), *_history(), *_fleet(), *_store(), *_process())
