"""Reads a whole configuration document: lists of resources by kind, as `examples/demo.yaml` shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from controlplane.model.base import MOST_UNKNOWN
from controlplane.model.problems import InvalidConfig, Problem, join
from controlplane.model.resources import KINDS, Resource, documents, parse
from controlplane.model.validate import Declared
from controlplane.model.words import unknown_field

MOST_WARNINGS = 100


@dataclass(frozen=True, slots=True)
class Document:
    """The resources declared in a document, and its own problems."""

    declared: tuple[Declared, ...]
    problems: tuple[Problem, ...]

    def warnings(self) -> tuple[Problem, ...]:
        """Warnings about allowed but probably unintended values, at most MOST_WARNINGS."""
        found = (
            problem.under(item.where)
            for item in self.declared
            if item.resource is not None
            for problem in item.resource.warnings()
        )
        return tuple(islice(found, MOST_WARNINGS))


def weight(raw: object) -> int:
    """Number of items in a document, which determines the cost of reading it."""
    lists = raw.values() if isinstance(raw, Mapping) else ()
    return sum(len(items) for items in lists if isinstance(items, list | tuple))


def read_document(raw: object) -> Document:
    """Read every resource of a document; never raises, and misses no problem.

    A section that is left empty (null) counts as an empty list.
    """
    if not isinstance(raw, Mapping):
        return Document((), (Problem("", f"must be an object with some of {', '.join(documents())}"),))
    plurals = documents()
    unknown = [name for name in raw if name not in plurals]
    problems = [_unknown(name) for name in unknown[:MOST_UNKNOWN]]
    if more := len(unknown) - len(problems):
        problems.append(Problem("", f"and {more} more unknown fields"))
    declared = []
    for plural, model in plurals.items():
        items = raw.get(plural)
        if not isinstance(items, list | tuple | None):
            problems.append(Problem(plural, "must be a list"))
            continue
        for position, item in enumerate(items or ()):
            one, wrong = read_one(model.KIND, item, f"{plural}[{position}]")
            declared.append(one)
            problems += wrong
    return Document(tuple(declared), (*problems, *_duplicates(declared)))


def read_one(kind: str, raw: object, where: str = "") -> tuple[Declared, tuple[Problem, ...]]:
    """Read one resource; problems have field paths below `where`."""
    fields = raw if isinstance(raw, Mapping) else {}
    named_by = KINDS[kind].NAMED_BY
    name = fields.get(named_by)
    resource: Resource | None = None
    problems: tuple[Problem, ...] = ()
    try:
        resource = parse(kind, raw, where)
    except InvalidConfig as error:
        problems = error.problems
    return Declared(kind, name if isinstance(name, str) else "", where, fields, resource), problems


def read_named(kind: str, raw: object, name: str | None) -> tuple[Declared, tuple[Problem, ...]]:
    """Read one resource that has this name. The resource may leave the name out, but must not have another."""
    field = KINDS[kind].NAMED_BY
    if name is not None and isinstance(raw, Mapping):
        raw = {field: name, **raw}
    declared, problems = read_one(kind, raw)
    if name is not None and declared.name and declared.name != name:
        problems += (Problem(field, f"must be {name!r}, as in the path"),)
    return declared, problems


def _unknown(name: object) -> Problem:
    if not isinstance(name, str):
        return Problem("", "must have names that are strings")
    if name == "instances":
        return Problem(
            name,
            "instances cannot be declared here: they register themselves, or are listed in their service",
        )
    return Problem(name, unknown_field(name, documents()))


def _duplicates(declared: list[Declared]) -> Iterator[Problem]:
    first: dict[tuple[str, str], str] = {}
    for item in declared:
        if item.name and first.setdefault((item.kind, item.name), item.where) != item.where:
            field = KINDS[item.kind].NAMED_BY
            detail = f"{item.name!r} is there twice, first as {first[item.kind, item.name]}"
            yield Problem(join(item.where, field), detail)
