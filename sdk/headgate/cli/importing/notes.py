"""What a translation left out or changed, with the place in the source file."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass, field


class WrongFormat(Exception):
    """The file is not of the product, or of an unsupported version."""


class Unusable(Exception):
    """A condition or a protection has no counterpart: its route must be left out, not opened wider."""

    def __init__(self, place: str, text: str) -> None:
        super().__init__(text)
        self.place = place
        self.text = text


@dataclass(frozen=True, slots=True)
class Note:
    """One difference between the source and the result."""

    place: str
    """Path in the source file: services[0].routes[1]."""
    text: str
    left_out: bool
    """It has no counterpart in the result; otherwise the result behaves differently."""

    def __str__(self) -> str:
        """As it is printed."""
        return f"{self.place}: {'left out' if self.left_out else 'changed'}: {self.text}"


@dataclass(slots=True)
class Notes:
    """Collects notes, each once."""

    found: list[Note] = field(default_factory=list)
    _seen: set[object] = field(default_factory=set)

    def left_out(self, place: str, text: str) -> None:
        """It has no counterpart."""
        self._add(Note(place, text, left_out=True))

    def changed(self, place: str, text: str) -> None:
        """It behaves differently."""
        self._add(Note(place, text, left_out=False))

    def once(self, place: str, text: str) -> None:
        """A change that holds for the whole file, told at its first place."""
        if text not in self._seen:
            self._seen.add(text)
            self.changed(place, f"{text} (so in the whole file)")

    def unknown(self, place: str, given: Iterable[str], known: Container[str]) -> None:
        """Fields that no translation reads."""
        for name in given:
            if name not in known:
                self.left_out(f"{place}.{name}", "no counterpart")

    def _add(self, note: Note) -> None:
        if note not in self._seen:
            self._seen.add(note)
            self.found.append(note)
