"""The one table that maps errors to responses."""

from __future__ import annotations

from controlplane.api.problems import RETRY_AFTER, HttpError, invalid
from controlplane.aside import Busy
from controlplane.commands.errors import (
    BuiltIn,
    BuiltInChange,
    Leaving,
    NotFound,
    PlanChanged,
    StaleWrite,
    StillNeeded,
)
from controlplane.identity import TooManyAttempts
from controlplane.model.problems import InconsistentConfig, InvalidConfig
from controlplane.store import (
    AccessDenied,
    Conflict,
    LeaseGone,
    StoreError,
    StoreFull,
    StoreUnavailable,
    TooLarge,
)

_LATER = {"Retry-After": RETRY_AFTER}


def explain(error: Exception, *, writing: bool) -> HttpError | None:
    """The refusal for an error; None for an internal error. `writing`: the request was a change."""
    match error:
        case HttpError():
            return error
        case StillNeeded():
            users = [{"kind": kind, "name": name} for kind, name in error.needed_by]
            return invalid(error, {"needed_by": users})
        case InvalidConfig():
            return invalid(error)
        case NotFound():
            return HttpError(404, str(error))
        case BuiltIn() | BuiltInChange() | Leaving():
            return HttpError(409, str(error))
        case StaleWrite() | PlanChanged():
            return HttpError(412, str(error))
        case InconsistentConfig():
            return HttpError(500, "The content of the store cannot be read", errors=error.problems)
        case TooManyAttempts():
            return HttpError(429, str(error), headers={"Retry-After": str(max(1, round(error.retry_after)))})
        case RecursionError():
            # JSON may nest as deep as Python reads it, and nothing that is valid nests deep.
            return HttpError(400, "The body is nested too deeply")
        case Busy():
            return HttpError(503, f"{error}; try again", headers=_LATER)
        case StoreError():
            return _store(error, writing)
    return None


def _store(error: StoreError, writing: bool) -> HttpError:
    nothing = "; nothing was changed" if writing else ""
    match error:
        case StoreFull():
            return HttpError(503, f"The store (etcd) is full and takes no changes{nothing}", headers=_LATER)
        case StoreUnavailable(unknown_outcome=True) if writing:
            detail = (
                "The store (etcd) did not answer in time, so it is not known whether the change was made: "
                "read before you repeat it"
            )
            return HttpError(503, detail, headers=_LATER)
        case Conflict():
            detail = f"Other changes to the configuration kept coming first{nothing}"
            return HttpError(409, detail, headers=_LATER)
        case TooLarge():
            return HttpError(413, f"The change does not fit into one transaction: {error.detail}")
        case AccessDenied():
            return HttpError(
                503, f"The store (etcd) refuses the control plane's credentials{nothing}", headers=_LATER
            )
        case LeaseGone():
            return HttpError(503, f"The store (etcd) ended the lease of this change{nothing}", headers=_LATER)
    return HttpError(503, f"The store (etcd) does not answer{nothing}", headers=_LATER)
