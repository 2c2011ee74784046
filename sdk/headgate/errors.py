"""Everything that can go wrong, in words that say what to do next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


class HeadgateError(Exception):
    """Base of every error that this package raises on purpose."""


class Misconfigured(HeadgateError):
    """A setting (argument, variable, file) is missing or wrong. The program does not help; a person does."""


class Unavailable(HeadgateError):
    """No control plane answered, or its store did not. Trying again later may help."""


class Unauthenticated(HeadgateError):
    """The control plane does not accept the credential. Trying again with the same one does not help."""


class Forbidden(HeadgateError):
    """The credential is good, but does not allow this call."""


class InvalidDefinition(HeadgateError):
    """What was to be registered is not valid; `problems` lists everything that is wrong with it."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))


class ServiceNotFound(HeadgateError):
    """The registry knows no service of this name."""

    def __init__(self, service_name: str) -> None:
        self.service_name = service_name
        super().__init__(f"Service '{service_name}' not found in registry")


class BucketNotFound(HeadgateError):
    """No bucket of any limit has this key."""

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__(f"no bucket of any limit has the key {key!r}")


class NotRegistered(HeadgateError):
    """The registry holds no such instance."""

    def __init__(self, service_name: str, instance_id: str) -> None:
        self.service_name, self.instance_id = service_name, instance_id
        super().__init__(f"instance {service_name}/{instance_id} is not registered")


class DuplicateInstance(HeadgateError):
    """Another process is registered under this instance_id, at another address. It keeps its place."""


class Stragglers(HeadgateError):
    """What was waited for did not happen on some data planes in time; what was asked for has been done all the same."""

    def __init__(self, what: str, nodes: Mapping[str, str]) -> None:
        """`nodes`: why each of them is late, by its name."""
        self.nodes = dict(nodes)
        named = (f"{node} ({reason})" if node else reason for node, reason in nodes.items())
        super().__init__(f"{what}: {', '.join(named)}")
