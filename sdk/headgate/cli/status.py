"""A summary of the gateway."""

from __future__ import annotations

from collections import Counter
from typing import Any

from headgate.cli.api import AdminApi
from headgate.cli.kinds import KINDS
from headgate.cli.render import print_kind, print_line, print_table


def collect(api: AdminApi) -> dict[str, Any]:
    """The data of `status`, as answered by the API."""
    health = api.health()
    return {
        "controlplane": {"url": api.url, **(health if isinstance(health, dict) else {})},
        "dataplanes": api.get("dataplanes"),
        "services": api.get("services"),
        "circuits": api.get("circuits"),
    }


def print_status(seen: dict[str, Any]) -> None:
    """The same as text: problems first, then data planes, then one line for each service."""
    controlplane = seen["controlplane"]
    # Through the gateway, /health is that of the data plane that forwards /api/v1.
    answering = f"Data plane {controlplane['node']} " if "node" in controlplane else "Control plane "
    print_line((answering, "bold"), f"{controlplane['url']}  {_about(controlplane)}")
    for problem in _problems(controlplane):
        print_line(("  problem: ", "red"), problem)
    for warning in controlplane.get("warnings") or ():
        print_line(("  warning: ", "yellow"), str(warning))
    print_line("")
    print_kind(KINDS["dataplanes"], seen["dataplanes"])
    print_line("")
    circuits = {circuit["service_name"]: circuit["state"] for circuit in seen["circuits"]}
    print_table(
        ["SERVICE", "HEALTHY", "CIRCUIT", "INSTANCES"],
        [
            [
                service["service_name"],
                f"{service['healthy']}/{service['total']}",
                circuits.get(service["service_name"], ""),
                _statuses(service),
            ]
            for service in seen["services"]
        ],
        nothing="no services",
    )


def print_store(seen: dict[str, Any]) -> None:
    """The known state of the store, as text."""
    print_line(
        f"Store at revision {seen['revision']}, {'answers' if seen['connected'] else 'does not answer'}"
    )
    print_line(f"Served: revision {seen['served']['revision']}")
    if seen["frozen"]:
        print_line(("Frozen: ", "red"), str(seen["reason"]))


def _problems(controlplane: dict[str, Any]) -> list[str]:
    # A data plane's /health has no store.
    store = controlplane.get("store", "ok")
    lost = [] if store == "ok" else [f"the store (etcd) {store}: nothing can be changed"]
    return [*lost, *map(str, controlplane.get("problems") or ())]


def _about(controlplane: dict[str, Any]) -> str:
    labels = {"version": "version ", "status": "", "revision": "revision "}
    facts = [f"{label}{controlplane[name]}" for name, label in labels.items() if name in controlplane]
    return ", ".join(facts)


def _statuses(service: dict[str, Any]) -> str:
    counted = Counter(instance["status"] for instance in service["instances"].values())
    return ", ".join(f"{count} {status}" for status, count in sorted(counted.items()))
