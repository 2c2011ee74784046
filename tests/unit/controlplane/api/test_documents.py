"""JSON and YAML as they arrive: strict, bounded, with the place of what is wrong."""

from __future__ import annotations

import json
import re
import time

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from controlplane.api.documents import MOST_VALUES, MalformedDocument, parse_json, parse_yaml

# What both languages and PyYAML agree on: no control characters, no line separators, nothing beyond the BMP.
TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=126) | st.sampled_from("äß€漢"))
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | FLOATS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=50, deadline=None)
@given(VALUES)
def test_json_reads_what_json_wrote(value: object) -> None:
    assert parse_json(json.dumps(value)) == value


@settings(max_examples=50, deadline=None)
@given(VALUES)
@example({"<<": None})
def test_json_is_yaml(value: object) -> None:
    assert parse_yaml(json.dumps(value)) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("null", None),
        ("~", None),
        ("", None),
        ("true", True),
        ("False", False),
        # YAML 1.1 has these as booleans, a date and a number to the base 60.
        ("yes", "yes"),
        ("on", "on"),
        ("2026-01-01", "2026-01-01"),
        ("12:30", "12:30"),
        ("12", 12),
        ("-3", -3),
        ("0x1f", 31),
        ("0o17", 15),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        (".inf", ".inf"),
        ("nan", "nan"),
        ("'12'", "12"),
        ('"true"', "true"),
        ("!!str 12", "12"),
        ("! 12", "12"),
        ("/orders", "/orders"),
    ],
)
def test_scalars_of_yaml(text: str, value: object) -> None:
    read = parse_yaml(text)
    assert (type(read), read) == (type(value), value)


def test_anchors_aliases_and_merges() -> None:
    text = """
    base: &base {check_interval: 1, circuit: &circuit {failure_threshold: 3}}
    one: {<<: *base, service_name: one}
    two:
      <<: [*base, {check_timeout: 2}]
      check_interval: 9
      circuit: *circuit
    """
    circuit = {"failure_threshold": 3}
    assert parse_yaml(text) == {
        "base": {"check_interval": 1, "circuit": circuit},
        "one": {"check_interval": 1, "circuit": circuit, "service_name": "one"},
        "two": {"check_interval": 9, "check_timeout": 2, "circuit": circuit},
    }


def test_comments_and_block_texts() -> None:
    assert parse_yaml("# a\na: |\n  one\n  two\nb: >-\n  three\n  four # not a comment\n") == {
        "a": "one\ntwo\n",
        "b": "three four # not a comment",
    }


def bomb(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("a: [1", "did not find expected ',' or ']' at line 2, column 1"),
        ("a: b: c", "mapping values are not allowed in this context at line 1, column 5"),
        ("\ta: 1", "at line 1, column 1"),
        ("a\0b", "control characters are not allowed at character 1"),
        ("a: 1\nb: 2\na: 3", "key 'a' is given twice in one mapping at line 3, column 1"),
        ("[a]: 1", "a key must be text at line 1, column 1"),
        ("{a: 1}: 1", "a key must be text"),
        ("&x a: 1\n*x : 2", "not an alias"),
        ("*nobody", "alias 'nobody' has no complete anchor before it at line 1, column 1"),
        ("&self [*self]", "alias 'self' has no complete anchor"),
        ("!!python/object/apply:os.system [id]", "is not known"),
        ("!!binary aGk=", "is not known"),
        ("!mine {}", "tag '!mine' is not known"),
        ("--- 1\n--- 2", "a second document begins"),
        ("<<: 3", "<< takes a mapping or a list of mappings"),
        ("9" * 5000, "Exceeds the limit"),
        ("1e999", "out of range"),
        ("[" * 65, "nested deeper than 64 at line 1, column 65"),
        ("[" * 1_000_000, "nested deeper than 64"),
        ("[" + "{}," * MOST_VALUES + "{}]", f"more than {MOST_VALUES} values"),
        (bomb(8), f"more than {MOST_VALUES} values"),
        (bomb(60), f"more than {MOST_VALUES} values"),
    ],
    ids=lambda text: text[:20],
)
def test_yaml_that_is_refused(text: str, detail: str) -> None:
    with pytest.raises(MalformedDocument, match=r".*") as caught:
        parse_yaml(text)
    assert detail in str(caught.value)


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("", "Expecting value at line 1, column 1"),
        ('{"a": }', "Expecting value at line 1, column 7"),
        ('{"a": 1,\n"a": 2}', "key 'a' is given twice in one object"),
        ("NaN", "NaN is not JSON"),
        ("-Infinity", "-Infinity is not JSON"),
        ("1e999", "out of range"),
        ("9" * 5000, "Exceeds the limit"),
        ("[" * 100_000, "nested too deeply"),
        (r'"\ud800"', "half of a surrogate pair"),
        ("{} {}", "Extra data"),
        ("[" + "{}," * MOST_VALUES + "{}]", f"more than {MOST_VALUES} values"),
    ],
    ids=lambda text: text[:20],
)
def test_json_that_is_refused(text: str, detail: str) -> None:
    with pytest.raises(MalformedDocument) as caught:
        parse_json(text)
    assert detail in str(caught.value)


def test_a_bomb_is_refused_at_once() -> None:
    begun = time.process_time()
    with pytest.raises(MalformedDocument):
        parse_yaml(bomb(60))
    assert time.process_time() - begun < 1


class Dumper(yaml.SafeDumper):
    """Quotes texts such as 0E0 and 0o7, too, which are numbers in YAML 1.2 only: PyYAML knows 1.1."""


def quoting(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    number = re.fullmatch(r"0o[0-7]+|[-+]?[0-9.]+([eE][-+]?[0-9]+)?", text)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if number else None)


Dumper.add_representer(str, quoting)


@settings(max_examples=50, deadline=None)
@given(VALUES)
@example("0E0")
@example({"0o7": "1e5"})
def test_yaml_reads_what_pyyaml_wrote(value: object) -> None:
    written = yaml.dump(value, Dumper=Dumper, allow_unicode=True)
    if "!!" in written or ".inf" in written:  # dates and binary texts, which are not taken
        return
    assert parse_yaml(written) == value
