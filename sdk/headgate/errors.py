"""The errors of this package. Their messages say what to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


class HeadgateError(Exception):
    """Base class of all errors of this package."""


class Misconfigured(HeadgateError):
    """A setting (argument, variable, file) is missing or wrong. A retry does not help."""


class Unavailable(HeadgateError):
    """No control plane answered, or its store did not. A later retry may succeed."""


class Unauthenticated(HeadgateError):
    """The control plane does not accept the credential. A retry with the same credential does not help."""


class Forbidden(HeadgateError):
    """The credential is valid, but does not allow this call."""


class InvalidDefinition(HeadgateError):
    """The values to register are not valid; `problems` lists every problem."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))


class ServiceNotFound(HeadgateError):
    """The registry has no service of this name."""

    def __init__(self, service_name: str) -> None:
        self.service_name = service_name
        super().__init__(f"Service '{service_name}' not found in registry")


class BucketNotFound(HeadgateError):
    """No bucket of any limit has this key."""

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__(f"no bucket of any limit has the key {key!r}")


class NotRegistered(HeadgateError):
    """The registry has no such instance."""

    def __init__(self, service_name: str, instance_id: str) -> None:
        self.service_name, self.instance_id = service_name, instance_id
        super().__init__(f"instance {service_name}/{instance_id} is not registered")


class DuplicateInstance(HeadgateError):
    """Another process is registered under this instance_id, at another address. It stays registered."""


class Stragglers(HeadgateError):
    """Some data planes did not reach the awaited state in time. The change itself has been made."""

    def __init__(self, what: str, nodes: Mapping[str, str]) -> None:
        """`nodes`: the reason for each late data plane, by its name."""
        self.nodes = dict(nodes)
        named = (f"{node} ({reason})" if node else reason for node, reason in nodes.items())
        super().__init__(f"{what}: {', '.join(named)}")
