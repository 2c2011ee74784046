"""What is to be compiled can be: mypyc's rules that are found here in a second, and not in minutes by a build."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

import dataplane
from dataplane.hatch_build import PLAIN, compiled

PACKAGE = Path(dataplane.__file__).parent
NATIVE_BASES = {object, dict, BaseException, Exception, LookupError, ValueError}
"""Builtin types of which mypyc 2.4 can derive a native class (mypyc/irbuild/prepare.py), as far as they are used."""

KEYWORDS = {
    *("_real", "_imag", "_complex", "_asm", "_inline", "_const", "_volatile", "_restrict"),
    *("_signed", "_typeof", "_alignof", "_thread", "_extension"),
}
"""Attributes whose names GCC reserves (its manual, alternate keywords), once they have the underscore."""


def classes() -> Iterator[type]:
    """The classes of the compiled modules."""
    for path in compiled(PACKAGE):
        module = importlib.import_module(path.removesuffix(".py").replace("/", "."))
        for found in vars(module).values():
            if isinstance(found, type) and found.__module__ == module.__name__:
                yield found


def is_named_tuple(found: type) -> bool:
    return issubclass(found, tuple) and hasattr(found, "_fields")


def test_no_compiled_class_derives_from_a_builtin_type_that_mypyc_refuses() -> None:
    refused = [
        f"{found.__module__}.{found.__qualname__} derives from {base.__name__}"
        for found in classes()
        if not (issubclass(found, Enum) or is_named_tuple(found))
        for base in found.__mro__
        if base.__module__ == "builtins" and base not in NATIVE_BASES
    ]
    assert not refused


def test_no_compiled_named_tuple_has_a_field_of_type_object() -> None:
    """Compiled, its module cannot be imported: KeyError: 'object'."""
    found = [each for each in classes() if is_named_tuple(each)]
    assert found
    assert not [each for each in found if "object" in each.__annotations__.values()]


def test_no_attribute_is_a_keyword_of_c() -> None:
    """In C, mypyc puts one more underscore before the name."""
    for path in compiled(PACKAGE):
        tree = ast.parse((PACKAGE.parent / path).read_text())
        attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        assert not attributes & KEYWORDS, path


def test_every_exception_from_compiling_names_a_module() -> None:
    assert all((PACKAGE / path).is_file() for path in PLAIN)
