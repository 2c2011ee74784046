"""Changes: their outcome, rollout and history."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from controlplane.api.shapes.base import Moment, Shape
from controlplane.api.shapes.fleet import RejectionShape


class ChangeShape(Shape):
    """The outcome for one resource."""

    action: Literal["create", "update", "delete", "unchanged"]
    kind: str
    name: str


class NodeProgressShape(Shape):
    """One data plane's progress."""

    node: str
    connected: Annotated[bool, Field(description="Only connected data planes count.")]
    applied_revision: int
    done: bool
    reason: Annotated[str, Field(description="The reason why the data plane is not done, in words.")]
    rejection: RejectionShape | None


class RolloutShape(Shape):
    """The rollout of a revision to the data planes."""

    revision: int
    digest: Annotated[
        str,
        Field(
            description="Digest of the published configuration with this revision; empty until it is published."
        ),
    ]
    state: Literal["served", "waiting", "rejected"]
    serving: int
    needed: Annotated[int, Field(description="Number of connected data planes that must serve the revision.")]
    nodes: list[NodeProgressShape]
    problem: Annotated[
        str,
        Field(
            description="The reason why no data plane can serve the revision now; empty when none is known."
        ),
    ]


class WarningShape(Shape):
    """A value that is allowed, but probably a mistake."""

    field: str
    detail: str


class ChangedShape(Shape):
    """A resource that a change touched."""

    action: str
    kind: str
    name: str


class ChangeRecordShape(Shape):
    """A recorded change of the configuration."""

    revision: int
    author: str
    time: Moment
    summary: str
    changes: list[ChangedShape]
    whole: Annotated[
        bool,
        Field(
            description="False for a change too large to be recorded completely: no rollback to a revision before it."
        ),
    ]


class FieldShape(Shape):
    """One field that differs."""

    field: str
    before: Any
    after: Any


class EditShape(ChangedShape):
    """The outcome for one resource, without secrets."""

    before: Annotated[dict[str, Any] | None, Field(description="null when it did not exist.")]
    after: Annotated[dict[str, Any] | None, Field(description="null when it was deleted.")]
    fields: Annotated[list[FieldShape], Field(description="The fields that an update changed.")]
    password: Annotated[bool, Field(description="Whether a password was set.")]


class KeptShape(Shape):
    """A resource that matches the labels and is not in the document, and that is not deleted."""

    kind: str
    name: str
    reason: str


class ReceiptShape(Shape):
    """The outcome of a document that was written, or checked in a dry run. With `wait`, also the members of a
    rollout."""

    revision: int
    changes: list[ChangeShape]
    warnings: Annotated[
        list[WarningShape] | None,
        Field(description="Values that are allowed, but probably mistakes; absent if there are none."),
    ] = None
    unfinished: Annotated[
        str | None,
        Field(
            description="With status 202: a text that says that the change is decided, but not completed yet."
        ),
    ] = None
    edits: Annotated[
        list[EditShape] | None,
        Field(description="In a dry run: the fields that would change, of the first 200 resources."),
    ] = None
    kept: Annotated[
        list[KeptShape] | None,
        Field(
            description="With prune: resources that others own or that cannot be restored, and that therefore stay; "
            "the first 200 of them."
        ),
    ] = None
    plan: Annotated[
        str | None,
        Field(
            description="In a dry run: send it as ?plan= with the change, to have it refused if it is another one."
        ),
    ] = None
    digest: str | None = None
    state: Literal["served", "waiting", "rejected"] | None = None
    serving: int | None = None
    needed: int | None = None
    nodes: list[NodeProgressShape] | None = None
    problem: str | None = None


class RecordShape(ChangeRecordShape):
    """A change, with each resource before and after it."""

    edits: list[EditShape]


class RollbackShape(Shape):
    """The revision to roll back to."""

    to: Annotated[int, Field(ge=1, description="Revision whose configuration is restored.")]
    users: Annotated[
        bool,
        Field(
            description="Whether users are restored, too, which returns scopes that were taken away; "
            "otherwise users do not change."
        ),
    ] = False
    dry_run: Annotated[bool, Field(description="Report what would change, and write nothing.")] = False
