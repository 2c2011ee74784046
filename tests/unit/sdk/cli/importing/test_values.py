"""Values that importers share with the control plane, and texts that they make fit."""

from __future__ import annotations

import pytest

from controlplane.model import edits, fields
from headgate.cli.importing.draft import Draft, clean
from headgate.cli.importing.kong_edits import _OWN
from headgate.cli.importing.values import METHODS, expression


def test_they_are_those_of_the_control_plane() -> None:
    assert METHODS == fields.METHODS
    assert _OWN == edits.REQUEST | edits.RESPONSE


def test_a_name_that_is_taken_gets_a_number() -> None:
    draft = Draft()
    assert [draft.name("routes", "A b!") for _ in range(3)] == ["a-b", "a-b-2", "a-b-3"]
    assert draft.name("routes", "é") == "route"
    assert len(clean("x" * 999)) == 200


@pytest.mark.parametrize(
    "text", ["a(?=b)", "(?<!a)b", r"(a)\1", "a++", "(?>a)", "(", "", "a{2,1}", "x" * 1001]
)
def test_what_re2_lacks_is_no_expression(text: str) -> None:
    assert expression(text) is None


def test_a_named_group_is_written_as_re2_reads_it() -> None:
    assert expression(r"(?<id>\d+)\(?=") == r"(?P<id>\d+)\(?="
