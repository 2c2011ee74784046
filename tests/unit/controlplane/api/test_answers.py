"""Large answers: the same JSON, made in small pieces."""

from __future__ import annotations

import json

import pytest

from controlplane.api import answers
from controlplane.aside import FEW


def many(count: int) -> list[object]:
    return [{"name": f"r{number}", "of": [number]} for number in range(count)]


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(many(3 * FEW + 1), id="a list of many"),
        pytest.param(
            [{"revision": 1, "changes": many(1000)}, {"revision": 2, "changes": []}], id="many in one of few"
        ),
        pytest.param([{"changes": many(100)} for _ in range(2 * FEW)], id="many in each of many"),
        pytest.param({"edits": many(100), "head": {"deep": [many(50)]}, "é": "ü"}, id="deep"),
        pytest.param({"none": None, "few": many(2), "empty": []}, id="few"),
    ],
)
def test_in_pieces_it_is_the_same(value: object, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    plain = answers._plain

    def counted(piece: object) -> str:
        text = plain(piece)
        sizes.append(len(text))
        return text

    monkeypatch.setattr(answers, "_plain", counted)
    made = answers.json_answer(value).body
    assert made == json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    assert max(sizes) < 100 * FEW, "nothing else runs while a piece is made"
