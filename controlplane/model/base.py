"""The base of all resources: strict, frozen, and reporting every problem at once.

pydantic alone stops short of "everything at once": rules that span several fields run only after every field is right.
`Part` runs them on the raw fields as well, and joins both findings, so that one answer lists all problems.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError

from controlplane.model.fields import STORED, Label, LabelValue
from controlplane.model.problems import InvalidConfig, Problem, path_of
from controlplane.model.words import describe

P = TypeVar("P", bound="Part")

MOST_UNKNOWN: Final = 20
"""Unknown fields of one value that are named. The closest known name is looked for each: a file of another program has
thousands, and nothing else would run meanwhile."""

Later = Callable[[object], str | None]
"""The unsupported part of a field's raw value; None when all of it is."""


@dataclass(frozen=True, slots=True)
class Narrows:
    """The field narrows access or secures something: a data plane must not ignore it.

    So a configuration in which it matters is withheld from data planes that do not name the capability.
    """

    capability: str
    """As data planes name it in `hello`, for instance `services.tls`."""
    when: Callable[[Any], bool] = bool
    """Whether a value of the field needs the capability; left out: every value that is true."""


class Ignorable(Enum):
    """The field may be ignored: without it a data plane admits no more requests, and is no less secure."""

    IGNORABLE = "ignorable"


IGNORABLE: Final = Ignorable.IGNORABLE

Added = Narrows | Ignorable | tuple[Narrows, ...]
"""The entries that apply to the value: values of one field may need different capabilities."""


def narrowings(added: Added) -> tuple[Narrows, ...]:
    """The statement about a field that must not be ignored; empty for one that may be."""
    if isinstance(added, Narrows):
        return (added,)
    return added if isinstance(added, tuple) else ()


class Part(BaseModel):
    """A value within the configuration. Unknown fields and values of the wrong type are refused."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
    )

    LATER: ClassVar[Mapping[str, Later]] = {}
    """Fields and values that are announced but not implemented yet: they are refused with that message."""
    ADDED: ClassVar[Mapping[str, Added]] = {}
    """The consequence if a data plane does not know a field: for each field added to the wire after the first release
    (`proto/baseline.binpb`), and each field with a new value that narrows access. See `model.capabilities`."""

    SENT_AS: ClassVar[Mapping[str, str]] = {}
    """The attribute that is sent to data planes in place of a field, by the field's name."""

    @classmethod
    def rules(cls, fields: Mapping[str, object]) -> Iterable[Problem]:
        """Problems that involve several fields. They are raw: any of them may be absent or of any type."""
        return ()

    @classmethod
    def prepare(cls, fields: Mapping[str, object]) -> Mapping[str, object]:
        """Normalize fields that the notation has changed."""
        return fields

    @model_validator(mode="wrap")
    @classmethod
    def _everything_at_once(cls, value: object, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(value, Mapping):
            return handler(value)
        fields, surplus = cls._bounded(cls.prepare(value))
        problems = [*cls.rules(fields), *surplus]
        later = dict(cls._not_built(fields))
        try:
            made = handler(fields)
        except ValidationError as error:
            raise _joined(cls, error, problems, later) from None
        if problems or later:
            raise _joined(cls, None, problems, later)
        return made

    @classmethod
    def _bounded(cls, fields: Mapping[str, object]) -> tuple[Mapping[str, object], tuple[Problem, ...]]:
        """The fields, of unknown ones only as many as are named, and a problem that counts the others.

        Of lists and objects that are too long, as much as shows that they are: every member may be wrong.
        """
        long = {name: most for name, most in _bounds(cls).items() if _is_longer(fields.get(name), most)}
        if long:
            fields = {**fields, **{name: _first(fields[name], most + 1) for name, most in long.items()}}
        if len(fields) <= len(cls.model_fields) + MOST_UNKNOWN:
            return fields, ()
        unknown = [name for name in fields if name not in cls.model_fields and name not in cls.LATER]
        surplus = set(unknown[MOST_UNKNOWN:])
        kept = {name: value for name, value in fields.items() if name not in surplus}
        return kept, (Problem("", f"and {len(surplus)} more unknown fields"),) if surplus else ()

    @classmethod
    def _not_built(cls, fields: Mapping[str, object]) -> Iterator[tuple[str, str]]:
        for name, says in cls.LATER.items():
            if name in fields and (what := says(fields[name])):
                yield name, f"{what} is not built yet"


@cache
def _bounds(model: type[Part]) -> Mapping[str, int]:
    """The most members of each field that is a list or an object, and of texts the most characters."""
    return {
        name: most
        for name, field in model.model_fields.items()
        for limit in field.metadata
        if isinstance(most := getattr(limit, "max_length", None), int)
    }


def _is_longer(value: object, most: int) -> bool:
    return isinstance(value, list | tuple | dict) and len(value) > most


def _first(value: object, count: int) -> object:
    if isinstance(value, dict):
        return dict(islice(value.items(), count))
    return value[:count] if isinstance(value, list | tuple) else value


FOR_PEOPLE: Final = ("description", "labels")
"""Fields that every resource has, and no data plane is sent. They come last where resources are shown, and the store
holds them only if they are set."""


class Resource(Part):
    """A named value that is written and read as a whole."""

    KIND: ClassVar[str]
    """As in the store's keys: `rate_limit`."""
    PLURAL: ClassVar[str]
    """As in documents: `rate_limits`."""
    NAMED_BY: ClassVar[str] = "name"
    """The field that holds the name."""
    KEYED: ClassVar[Mapping[str, str]] = {}
    """Lists whose members have names, and the field that holds the name: a merge patch reaches each by its name."""
    REFERENCES: ClassVar[Mapping[str, str]] = {}
    """Fields that name other resources, which must exist: by field the kind; `scopes[]` is a list of names,
    `services[].service_name` a field of the members of a list."""
    SPARSE: ClassVar[tuple[str, ...]] = ()
    """Fields that the store holds only if they differ from their defaults: earlier control planes do not know them."""
    GIVEN: ClassVar[frozenset[str]] = frozenset()
    """Names that can be referred to although no resource has them: they stand for something of the settings."""
    DATA_PLANES: ClassVar[bool] = True
    """Whether data planes are sent it, in the field of `headgate.v1.Resource` that is called like the kind."""
    DOCUMENTS: ClassVar[bool] = True
    """Whether people write it: in documents, and one by one over the admin API."""
    FOR_CALLERS: ClassVar[bool] = False
    """Whether data planes need it to know callers: pools without a route that asks for a token are not sent it."""
    SECRET: ClassVar[bool] = False
    """Whether it holds a secret. Where there are pools, it is sent only for a resource that names it."""

    EXAMPLE: ClassVar[Mapping[str, Any] | None] = None
    """A typical and valid resource, for the description of the API."""

    description: Annotated[str, Field(max_length=500, description="For people.")] = ""
    labels: Annotated[
        dict[Label, LabelValue],
        Field(
            max_length=32,
            description="Labels for people and tools. Lists can be filtered by them (?label=team=shop).",
        ),
    ] = Field(default_factory=dict)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """The schema with the kind's own fields first."""
        schema = handler(core_schema)
        fields = handler.resolve_ref_schema(schema).get("properties", {})
        fields.update({name: fields.pop(name) for name in ("description", "labels") if name in fields})
        return schema

    def outdated(self) -> Iterable[Problem]:
        """Values that are valid only in a stored resource: a rule has become stricter since it was written.

        It stays in force. a refusal would block the publication of everything else.
        """
        return ()

    def warnings(self) -> Iterable[Problem]:
        """Warnings for the author about values that are allowed, but probably mistakes. Nothing is refused."""
        return ()

    if TYPE_CHECKING:
        # Some kinds have a field of this name, others compute it: pydantic must not see a declaration here.
        @property
        def name(self) -> str:
            """Unique among the resources of the kind; the last part of the store's key."""


def without_empty(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a resource, with description and labels at the end, or without them where they are empty."""
    for name in FOR_PEOPLE:
        if value := fields.pop(name):
            fields[name] = value
    return fields


def parse_as(model: type[P], raw: object, field: str = "", *, stored: bool = False) -> P:
    """Make a value of `model` from a document, or raise InvalidConfig with every problem, below `field`.

    A `stored` resource may have values that an earlier version accepted (`Resource.outdated`).
    """
    try:
        return model.model_validate(raw, context=STORED if stored else None)
    except ValidationError as error:
        raise InvalidConfig(problem.under(field) for problem in problems_of(error, model)) from None


def problems_of(error: ValidationError, model: type[BaseModel]) -> Iterator[Problem]:
    """Every finding of pydantic as a problem."""
    for found in error.errors(include_url=False):
        # pydantic marks an error in the name of a member by an extra step in the path.
        location = (step for step in found["loc"] if step != "[key]")
        yield Problem(path_of(location), describe(found, model.model_fields))


def _joined(
    model: type[Part], error: ValidationError | None, problems: Iterable[Problem], later: Mapping[str, str]
) -> ValidationError:
    """One error from the findings of pydantic and of the rules, and from unsupported values, each the only problem of
    its field."""
    details = [_detail((name,), text) for name, text in later.items()]
    for found in error.errors(include_url=False) if error else ():
        if not found["loc"] or found["loc"][0] not in later:
            details.append(_detail(found["loc"], describe(found, model.model_fields)))
    details += [_detail((p.field,) if p.field else (), p.detail) for p in problems if p.field not in later]
    return ValidationError.from_exception_data(model.__name__, details)


def _detail(location: tuple[str | int, ...], text: str) -> InitErrorDetails:
    # The input is left out: it may hold a password.
    return InitErrorDetails(
        type=PydanticCustomError("problem", "{text}", {"text": text}), loc=location, input=None
    )
