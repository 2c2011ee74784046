"""Draining an instance: with the service's token if there is one, as in a pod, otherwise as the logged-in user.

In a pod the name of the instance is the one that the SDK chooses: see `headgate.advertise`.
"""

from __future__ import annotations

import asyncio
import os

from headgate import barrier
from headgate.advertise import fitted_id
from headgate.cli import resources
from headgate.cli.api import AdminApi, ApiError
from headgate.cli.failure import Failure
from headgate.cli.kinds import KINDS
from headgate.cli.session import Session, access_token
from headgate.cli.spelling import meant
from headgate.errors import HeadgateError
from headgate.target import Target
from headgate.transport import Transport


def drain(session: Session, service: str, instance: str, seconds: float) -> None:
    """Return once no data plane has requests under way at the instance. Raises Failure that names those that do."""
    named = any(os.environ.get(name) for name in ("HEADGATE_TOKEN", "HEADGATE_TOKEN_FILE", "HEADGATE_CERT"))
    if named and access_token() is None:
        asyncio.run(_through_registry(service, fitted_id(instance), seconds))
        return
    with session.api() as api:
        query = {"wait": f"{seconds:g}"}
        try:
            api.post("services", service, "instances", instance, "drain", query=query, patience=seconds)
        except ApiError as refused:
            raise _absent(api, service, instance) if refused.status == 404 else refused from refused


def undo(session: Session, service: str, instance: str) -> None:
    """Let a draining instance take requests again. Raises Failure if the control plane does not support this."""
    with session.api() as api:
        try:
            api.delete("services", service, "instances", instance, "drain")
        except ApiError as refused:
            if refused.status == 404:
                raise _absent(api, service, instance) from refused
            if refused.status != 405:
                raise
            raise Failure(
                "this control plane cannot end a draining: the instance takes requests again when it registers anew"
            ) from refused


def _absent(api: AdminApi, service: str, instance: str) -> Failure:
    """The message for an unknown instance, with a similar service or instance."""
    rows = resources.fetch(api, KINDS["instances"], None)
    services = {row["service_name"] for row in rows}
    if service not in services:
        return Failure(f"service {service!r} has no instances{meant(service, services)}")
    mine = [row["instance_id"] for row in rows if row["service_name"] == service]
    if instance in mine:
        (row,) = (each for each in rows if (each["service_name"], each["instance_id"]) == (service, instance))
        if row.get("source") == "discovered":
            return Failure(f"instance {service}/{instance} was discovered: only its source can take it out")
        why = f"it is declared in service {service}, and only instances that register can be drained"
        return Failure(
            f"instance {service}/{instance}: {why} (`headgate edit service {service}` takes it out)"
        )
    return Failure(f"service {service} has no instance {instance!r}{meant(instance, mine)}")


async def _through_registry(service: str, instance: str, seconds: float) -> None:
    try:
        transport = Transport(Target.make())
        try:
            await barrier.drain(transport, service, instance, seconds)
        finally:
            await transport.close()
    except HeadgateError as error:
        raise Failure(str(error)) from error
