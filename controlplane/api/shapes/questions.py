"""Explanations of decisions, and tapped requests."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from controlplane.api.shapes.base import Shape


class ExplainBody(BaseModel):
    """A request to explain. It is not sent to any instance."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    url: Annotated[
        str,
        Field(
            min_length=1,
            max_length=16_384,
            description="URL of the request, or only its path and query; the host is then `localhost`.",
        ),
    ]
    method: Annotated[str, Field(max_length=64, description="Method of the request.")] = "GET"
    headers: Annotated[
        dict[str, str],
        Field(
            max_length=200, description="Header fields of the request; values are neither logged nor kept."
        ),
    ] = Field(default_factory=dict)
    token: Annotated[
        str | None,
        Field(
            max_length=16_384,
            description="Bearer token of the request; neither logged nor kept.",
            json_schema_extra={"writeOnly": True},
        ),
    ] = None
    client: Annotated[str, Field(max_length=64, description="IP address of the client.")] = "127.0.0.1"
    at: Annotated[
        int | None,
        Field(gt=0, lt=2**63, description="Revision of the configuration; by default, the served one."),
    ] = None
    dataplane: Annotated[
        str | None, Field(max_length=128, description="Data plane that explains; by default, any.")
    ] = None


class StepShape(Shape):
    """One step of the decision."""

    stage: Annotated[str, Field(description="The step.", json_schema_extra={"examples": ["route", "token"]})]
    outcome: Annotated[
        str,
        Field(
            description="`passed`, `refused`, `answered` (by the gateway itself), `skipped` (not needed on this "
            "route) or `not_reached` (the request is answered before)."
        ),
    ]
    text: Annotated[str, Field(description="The result in one sentence.")]
    details: Annotated[dict[str, Any], Field(description="The facts; they depend on the stage.")]
    of_now: Annotated[
        list[str],
        Field(
            description="With `at`: what this step takes from the present, such as `tokens in buckets`. All else is of "
            "that revision."
        ),
    ]


class ExplanationShape(Shape):
    """What a data plane would decide about a request."""

    dataplane: Annotated[str, Field(description="Name of the data plane that explains.")]
    worker: Annotated[int, Field(description="Its worker, whose buckets, breakers and balancers were read.")]
    revision: Annotated[int, Field(description="Revision of the configuration that decides.")]
    status: Annotated[
        int | None, Field(description="Status of the refusal; null if the request is forwarded.")
    ]
    decision: Annotated[
        str, Field(description="As in the access log: `forwarded`, or the reason in one word.")
    ]
    detail: Annotated[str | None, Field(description="`detail` of the problem document.")]
    reason: Annotated[str | None, Field(description="For operators, as in the access log.")]
    route: str | None
    service: str | None
    instance: Annotated[str | None, Field(description="The instance that would be picked.")]
    steps: Annotated[list[StepShape], Field(description="In the order in which the gateway takes them.")]
