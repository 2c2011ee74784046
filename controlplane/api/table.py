"""Every operation of the admin API, declared beside its handler: routes, guards and OpenAPI are made from them."""

from __future__ import annotations

from controlplane.api import (
    board_operations,
    configuration,
    dashboard,
    dataplane_token,
    docs,
    events,
    exporting,
    fleet,
    health,
    history,
    limits,
    questions,
    resources,
    rollout,
    service_token,
    services,
    sessions,
    store,
    tap,
    token,
    traffic,
    verdicts,
)
from controlplane.api.operation import Operation


def operations() -> tuple[Operation, ...]:
    """The table, for all kinds of resources."""
    return (
        *token.operations(),
        *service_token.operations(),
        *dataplane_token.operations(),
        *configuration.operations(),
        *exporting.operations(),
        *resources.operations(),
        *services.operations(),
        *verdicts.operations(),
        *history.operations(),
        *fleet.operations(),
        *events.operations(),
        *traffic.operations(),
        *limits.operations(),
        *questions.operations(),
        *tap.operations(),
        *rollout.operations(),
        *store.operations(),
        *docs.operations(operations),
        *health.operations(),
        *board_operations.operations(),
        *sessions.operations(),
        *dashboard.operations(),
    )
