"""Formats of the access log as operators write them, and the sentences about wrong ones."""

from __future__ import annotations

import pytest

from dataplane.observe.line_format import (
    JSON,
    MOST_PAIRS,
    REDACTED,
    SECRET_PARAMETERS,
    Format,
    FormatError,
    read_format,
    redact_query,
)


def test_the_usual_format_needs_no_reading() -> None:
    assert read_format(JSON) is None


def test_json_with_chosen_fields() -> None:
    assert read_format(JSON, ("status", "header:X-Tenant")) == Format(("status", "header:x-tenant"))


def test_a_text_has_a_literal_around_each_field() -> None:
    assert read_format("{{a}} {status}{header:X-Id}\t") == Format(
        ("status", "header:x-id"), ("{a} ", "", "\t")
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it names no field: write json, combined, or a text such as {client} {status}"),
        ("combinde", "it names no field"),
        ("{statsu}", "'statsu' is no field: did you mean status?"),
        ("{zzz}", "'zzz' is no field: known are time, request_id"),
        ("{}", "'' is no field"),
        ("{0}", "'0' is no field"),
        ("{status.real}", "'status.real' is no field"),
        ("{status!r}", "{status!r} is no field"),
        ("{status:>10}", "'status:>10' is no field"),
        ("{header:x tenant}", "'header:x tenant' is no field"),
        ("{header:}", "'header' is no field"),
        ("{status", "expected '}' before end of string: double a brace that is no field"),
        ("status}", "Single '}' encountered in format string: double a brace that is no field"),
        ("{status}\n", "a line may hold no line break"),
        ("\udce4{status}", "it is not UTF-8"),
        ("{status}" * 101, "it names more than 100 fields"),
    ],
)
def test_a_wrong_text_is_explained(text: str, message: str) -> None:
    with pytest.raises(FormatError) as caught:
        read_format(text)
    assert str(caught.value).startswith(message)


def test_a_text_and_a_list_of_fields_contradict_each_other() -> None:
    with pytest.raises(FormatError, match="a text names its fields itself"):
        read_format("{status}", ("path",))


def test_a_query_of_many_pairs_costs_no_more_than_the_first_of_them() -> None:
    query = "&".join(["a=1"] * MOST_PAIRS + ["token=x", "b=2"])
    shown = redact_query(query, SECRET_PARAMETERS)
    assert shown == "&".join(["a=1"] * MOST_PAIRS) + "&" + REDACTED
    assert redact_query("a=1&token=x;b=2", SECRET_PARAMETERS) == "a=1&token=***;b=2"
    assert redact_query("&".join(["a=1"] * MOST_PAIRS + ["token=x"]), SECRET_PARAMETERS).endswith(
        "&token=***"
    )
