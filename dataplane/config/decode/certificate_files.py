"""Certificates that the configuration names by files: the supervisor reads them, and puts their content into the
configuration that workers are sent.

Only files below one folder are read, whatever links lead to: the configuration must not reach the rest of the disk.
What was read last stays in use while the files cannot be used; the encrypted cache keeps it over restarts.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from dataplane.config.decode.bundle import Bundle
from dataplane.config.items import Problem, ResourceKey, TableError
from dataplane.proxy.tls import BadChain, Chain, names_of, server_context
from headgate_api.v1.resources_pb2 import Certificate, CertificateFiles, Resource

LARGEST: Final = 256 * 1024
"""Bytes of a file; a chain has a few thousand."""
_KIND: Final = "certificate"

Stamp = tuple[tuple[int, ...], ...]
"""What the system says of both files: another one, if a file was replaced, written or linked anew."""


class Unusable(ValueError):
    """A file that cannot be used; the message is for operators, and has nothing of its content."""

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(detail)
        self.field = field


@dataclass(frozen=True, slots=True)
class Found:
    """The certificate in its files, or the reason why it cannot be used."""

    stamp: Stamp
    chain: Chain | None
    problem: Problem | None = None


class FileReader:
    """Reads certificates below one folder. One call at a time; `filled` and `refreshed` block on the disk."""

    def __init__(self, folder: Path | None) -> None:
        """None: no certificate may name files."""
        self._folder = folder
        self._found: dict[str, tuple[CertificateFiles, Found]] = {}
        self._named: dict[str, CertificateFiles] = {}
        """The certificates with files of the configuration with `_digest`."""
        self._digest = ""
        self.problems: Mapping[str, str] = {}
        """By certificate: the reason why its files cannot be used, as they were last read."""

    def wanted(self, bundle: Bundle) -> Iterable[str]:
        """The certificates that have to be read for this configuration: of a change, only those that it touches."""
        if bundle.base and bundle.base == self._digest:
            touched = {
                name: bundle.resources.get((kind, name)) for kind, name in bundle.touched if kind == _KIND
            }
            for name in touched:
                self._named.pop(name, None)
        else:
            touched = {name: body for (kind, name), body in bundle.resources.items() if kind == _KIND}
            self._named = {}
        new = {name: body.certificate.files for name, body in touched.items() if body and _has_files(body)}
        self._named |= new
        self._digest = bundle.digest
        return sorted(new)

    def filled(self, bundle: Bundle, names: Iterable[str], served: Bundle) -> Bundle:
        """The configuration with what the files of these certificates hold. Of files that cannot be used, what it has
        already, or `served` has of the same files. Raises TableError if neither has anything."""
        problems: list[Problem] = []
        found: dict[ResourceKey, Resource] = {}
        for name in names:
            key = (_KIND, name)
            body = bundle.resources[key]
            read = self._read_again(name, body.certificate.files)
            chain = read.chain or _content(body) or _kept(served, key, body.certificate.files)
            if chain is not None:
                found[key] = _with_content(body, chain)
            elif read.problem is not None:
                problems.append(read.problem)
        self._note()
        if problems:
            raise TableError(problems)
        return _replaced(bundle, found)

    def refreshed(self, served: Bundle) -> Bundle:
        """The configuration in use with what its files hold now; the same object if nothing has changed."""
        if self._digest != served.digest:
            self.wanted(served)
        names = [name for name, files in self._named.items() if self._is_outdated(name, files)]
        return self.filled(served, sorted(names), served)

    def _is_outdated(self, name: str, files: CertificateFiles) -> bool:
        known = self._found.get(name)
        return known is None or known[1].problem is not None or known[1].stamp != self._stamp(files)

    def _note(self) -> None:
        self._found = {name: known for name, known in self._found.items() if name in self._named}
        self.problems = {
            name: found.problem.detail
            for name, (_, found) in self._found.items()
            if found.problem is not None
        }

    def _read_again(self, name: str, files: CertificateFiles) -> Found:
        known = self._found.get(name)
        stamp = self._stamp(files)
        if known is not None and known[0] == files and known[1].chain is not None and known[1].stamp == stamp:
            return known[1]
        try:
            found = Found(stamp, self._pair(files))
        except Unusable as error:
            found = Found(stamp, None, Problem(f"{_KIND}/{name}", f"files.{error.field}", str(error)))
        self._found[name] = files, found
        return found

    def _pair(self, files: CertificateFiles) -> Chain:
        chain = Chain(
            self._content("certificate", files.certificate), self._content("private_key", files.private_key)
        )
        try:
            names_of(chain)
        except (ValueError, IndexError):
            raise Unusable("certificate", f"{files.certificate} holds no certificate in PEM") from None
        try:
            server_context(chain)
        except BadChain:
            detail = f"{files.private_key} is not the unencrypted private key of {files.certificate}"
            raise Unusable("private_key", detail) from None
        return chain

    def _content(self, field: str, path: str) -> bytes:
        place = self._place(field, path)
        try:
            content = _read(place)
        except OSError as error:
            raise Unusable(field, f"cannot read {path} in CERTIFICATE_DIR: {error.strerror}") from None
        if content is None:
            raise Unusable(field, f"{path} is not a file")
        if len(content) > LARGEST:
            raise Unusable(field, f"{path} is larger than {LARGEST} bytes")
        return content

    def _place(self, field: str, path: str) -> Path:
        if self._folder is None:
            raise Unusable(field, "this data plane reads no files: CERTIFICATE_DIR is not set")
        try:
            folder = self._folder.resolve()
            found = (folder / path).resolve()
        except (OSError, RuntimeError):  # RuntimeError is of older versions of Python
            raise Unusable(field, f"cannot read {path} in CERTIFICATE_DIR: its links make a loop") from None
        if not found.is_relative_to(folder):
            raise Unusable(field, f"{path} is not below CERTIFICATE_DIR")
        return found

    def _stamp(self, files: CertificateFiles) -> Stamp:
        return tuple(self._stamp_of(path) for path in (files.certificate, files.private_key))

    def _stamp_of(self, path: str) -> tuple[int, ...]:
        if self._folder is None:
            return ()
        try:
            seen = (self._folder / path).stat()
        except OSError:
            return ()
        return seen.st_dev, seen.st_ino, seen.st_mtime_ns, seen.st_size, seen.st_ctime_ns


def _read(place: Path) -> bytes | None:
    """The content, with one byte more than allowed if it is longer; None if it is no file. Waits for no pipe."""
    descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    # Python opens no folder, and would leave the descriptor open.
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return None
    with os.fdopen(descriptor, "rb") as file:
        return file.read(LARGEST + 1)


def _has_files(resource: Resource) -> bool:
    return resource.certificate.HasField("files")


def _content(resource: Resource) -> Chain | None:
    body = resource.certificate
    return Chain(body.certificate.encode(), body.private_key.encode()) if body.private_key else None


def _kept(served: Bundle, key: ResourceKey, files: CertificateFiles) -> Chain | None:
    known = served.resources.get(key)
    return _content(known) if known is not None and known.certificate.files == files else None


def _with_content(resource: Resource, chain: Chain) -> Resource:
    body = Certificate(
        certificate=chain.certificate.decode("ascii", "replace"),
        private_key=chain.key.decode("ascii", "replace"),
        files=resource.certificate.files,
    )
    return Resource(name=resource.name, revision=resource.revision, certificate=body)


def _replaced(bundle: Bundle, found: Mapping[ResourceKey, Resource]) -> Bundle:
    """A resource whose content is the same stays the same object, so that nothing is sent for it."""
    new = {key: body for key, body in found.items() if bundle.resources[key] != body}
    if not new:
        return bundle
    return replace(bundle, resources={**bundle.resources, **new})
