"""Resources of the model as messages."""

from __future__ import annotations

from collections.abc import Mapping

from controlplane.model.resources import (
    Circuit,
    Instance,
    RateLimit,
    Reset,
    Resource,
    Route,
    Service,
    Tls,
    User,
    VerificationKey,
)
from controlplane.model.stored import Stamped
from headgate_api.v1 import resources_pb2 as pb

LOAD_BALANCERS: Mapping[str, pb.LoadBalancer.ValueType] = {
    "round_robin": pb.LOAD_BALANCER_ROUND_ROBIN,
    "least_request": pb.LOAD_BALANCER_LEAST_REQUEST,
    "ip_hash": pb.LOAD_BALANCER_IP_HASH,
}
_LIMIT_KEYS: Mapping[str, pb.LimitKey.ValueType] = {
    "address": pb.LIMIT_KEY_ADDRESS,
    "subject": pb.LIMIT_KEY_SUBJECT,
    "route": pb.LIMIT_KEY_ROUTE,
    "header": pb.LIMIT_KEY_HEADER,
}
_LIMIT_MODES: Mapping[str, pb.LimitMode.ValueType] = {"local": pb.LIMIT_MODE_LOCAL}


def resource(stamped: Stamped) -> pb.Resource:
    """A resource as data planes get it. TypeError for a kind that they do not."""
    message = pb.Resource(name=stamped.resource.name, revision=stamped.revision)
    _fill(message, stamped.resource)
    return message


def _fill(message: pb.Resource, body: Resource) -> None:
    match body:
        case Service():
            message.service.CopyFrom(service(body))
        case Instance():
            message.instance.CopyFrom(instance(body))
        case Route():
            message.route.CopyFrom(route(body))
        case RateLimit():
            message.rate_limit.CopyFrom(rate_limit(body))
        case User():
            message.user.CopyFrom(
                pb.User(scopes=body.scopes, disabled=body.disabled, credentials=body.credentials)
            )
        case VerificationKey():
            message.verification_key.CopyFrom(
                pb.VerificationKey(jwk=body.jwk, issuer=body.issuer, audience=body.audience)
            )
        case Reset():
            message.reset.CopyFrom(_reset(body))
        case _:
            raise TypeError(f"data planes are not sent any {body.KIND}")


def _reset(body: Reset) -> pb.Reset:
    if body.circuit is not None:
        return pb.Reset(circuit=body.circuit)
    return pb.Reset(rate_limit=body.rate_limit or "")


def service(body: Service) -> pb.Service:
    """A service without its static instances, which go out as instances."""
    timeouts, retries = body.timeouts, body.retries
    return pb.Service(
        service_name=body.service_name,
        check_path=body.check_path,
        check_interval=body.check_interval,
        check_timeout=body.check_timeout,
        healthy_threshold=body.healthy_threshold,
        unhealthy_threshold=body.unhealthy_threshold,
        load_balancer=LOAD_BALANCERS[body.load_balancer],
        circuit=circuit(body.circuit),
        timeouts=pb.Timeouts(
            connect=timeouts.connect, response=timeouts.response, idle=timeouts.idle, total=timeouts.total
        ),
        retries=pb.Retries(attempts=retries.attempts, on=map(str, retries.on), budget=retries.budget),
        tls=_tls(body.tls),
    )


def _tls(body: Tls | None) -> pb.UpstreamTls | None:
    if body is None or not body.enabled:
        return None
    return pb.UpstreamTls(server_name=body.server_name or "", ca=body.ca or "")


def circuit(body: Circuit) -> pb.Circuit:
    """A breaker's settings."""
    return pb.Circuit(
        failure_threshold=body.failure_threshold,
        failure_ratio=body.failure_ratio,
        failure_window=body.failure_window,
        min_throughput=body.min_throughput,
        recovery_timeout=body.recovery_timeout,
        half_open_timeout=body.half_open_timeout,
        half_open_requests=body.half_open_requests,
    )


def instance(body: Instance) -> pb.Instance:
    """An instance, registered or static."""
    return pb.Instance(
        service_name=body.service_name,
        instance_id=body.instance_id,
        host=body.host,
        port=body.port,
        weight=body.weight,
        metadata=body.metadata,
        draining=body.draining,
    )


def route(body: Route) -> pb.Route:
    """A route; its name travels beside it."""
    return pb.Route(
        prefix=body.prefix or "",
        path=body.path or "",
        hosts=body.hosts,
        methods=body.methods,
        service_name=body.service_name,
        scopes=body.scopes,
        public=body.public,
        strip_prefix=body.strip_prefix,
        rewrite=body.rewrite or "",
        rate_limits=body.rate_limits,
        timeout=body.timeout or 0,
        max_body_bytes=body.max_body_bytes,
        upgrades=body.upgrades,
    )


def rate_limit(body: RateLimit) -> pb.RateLimit:
    """A limit; its name travels beside it."""
    return pb.RateLimit(
        per_second=body.per_second,
        burst=body.burst,
        key=_LIMIT_KEYS[body.key],
        header=body.header or "",
        mode=_LIMIT_MODES[body.mode],
    )
