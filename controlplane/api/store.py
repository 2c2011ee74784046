"""The store: whether its content is published, and an operator's confirmation that it may be."""

from __future__ import annotations

from collections.abc import Iterator

from starlette.responses import Response

from controlplane.api.answers import model_answer
from controlplane.api.operation import ADMIN, ROOT, Answer, Call, Operation, get
from controlplane.api.problems import starting
from controlplane.api.shapes.store import ConfirmedShape, LineageShape, ServedShape, StoreShape
from controlplane.distribute.guard import WHAT_TO_DO


async def show(call: Call) -> Response:
    """The state of the store."""
    watcher = call.parts.watcher
    good, present = watcher.guard.good, watcher.guard.lineage
    shape = StoreShape(
        connected=watcher.connected,
        frozen=bool(watcher.frozen),
        reason=f"{watcher.frozen}; {WHAT_TO_DO}" if watcher.frozen else "",
        revision=watcher.revision,
        lineage=LineageShape(id=present.id, epoch=present.epoch),
        served=ServedShape(
            revision=watcher.current.revision if watcher.current else 0,
            lineage=LineageShape(id=good.lineage.id, epoch=good.lineage.epoch),
        ),
    )
    return model_answer(shape)


async def confirm(call: Call) -> Response:
    """Make every control plane publish the store's content, and every data plane accept it."""
    parts = call.parts
    if parts.store is None or parts.prepare_store is None:
        raise starting(parts.not_ready())
    was = parts.watcher.frozen
    # Without signing keys and users, no login would succeed.
    await parts.prepare_store()
    above = parts.watcher.guard.good.lineage.epoch
    revision, lineage = await parts.commands.confirm_store(call.author, above=above)
    call.record.revision = revision
    return model_answer(
        ConfirmedShape(
            revision=revision, lineage=LineageShape(id=lineage.id, epoch=lineage.epoch), reason=was
        )
    )


def operations() -> Iterator[Operation]:
    """The operations that the handlers above answer."""
    yield get(
        f"{ROOT}/store",
        show,
        "getStore",
        "The store, and whether its content is published",
        Answer(200, "The state as this control plane sees it", StoreShape),
    )
    yield Operation(
        method="POST",
        path=f"{ROOT}/store/confirm",
        handler=confirm,
        access=ADMIN,
        id="confirmStore",
        summary="Publish the content of a store that was wiped, restored or replaced, whatever it is",
        answers=(Answer(200, "The content is published from this revision on", ConfirmedShape),),
        tag="fleet",
        refusals=(409,),
    )
