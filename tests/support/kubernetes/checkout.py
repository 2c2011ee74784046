"""Images of the checkout for machines without Docker: this Python with what its environment has installed.

They stand in for the images of the Dockerfile: the same programs, but neither compiled nor as small, and Python is that
of the machine.
"""

from __future__ import annotations

import compileall
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Collection, Iterable, Iterator
from importlib.metadata import Distribution, distribution
from importlib.util import cache_from_source
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from demo.processes import ROOT
from tests.support.kubernetes.archives import Image, write_archive, write_layer

PYTHON = "/usr/local/bin/python3"
STANDARD = Path(sysconfig.get_path("stdlib"))
PACKAGES = f"/usr/local/lib/{STANDARD.name}/site-packages"
"""Where Python finds them even if it is told to ignore its environment (-I), as in the chart's jobs."""
OURS = {"headgate_api": "proto", "controlplane": ".", "dataplane": ".", "headgate": "sdk"}
"""Our packages, by the folder of the checkout that has them: they are installed as links."""
DISTRIBUTIONS = ("headgate-api", "headgate-controlplane", "headgate-dataplane", "headgate-sdk[cli]")
ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LD_LIBRARY_PATH": "/usr/local/lib",
    "PYTHONUNBUFFERED": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "ADMIN_LISTEN": "0.0.0.0:8080",
    "GRPC_LISTEN": "0.0.0.0:50051",
    "LISTEN": "0.0.0.0:8000",
    "STATUS_LISTEN": "0.0.0.0:8001",
}
HEADGATE = Path(__file__).with_name("headgate")
MODULES = {"controlplane": "controlplane", "dataplane": "dataplane", "sdk": "headgate.cli"}
UNUSED = re.compile(r"/(test|tests|idlelib|tkinter|turtledemo|lib2to3|ensurepip|site-packages|config-[^/]*)/")

File = tuple[Path, str]


def write_headgate(folder: Path, tag: str, root: Path = ROOT) -> Path:
    """The archive of headgate-controlplane, headgate-dataplane and headgate-sdk, with the sources below `root`."""
    files = dict(_reversed([*_python(), *_packages(), *_own(root), *_programs()]))
    files |= dict(_reversed(_libraries(list(files.values()))))
    images = [
        Image(f"headgate-{name}:{tag}", (PYTHON, "-m", module), ENVIRONMENT)
        for name, module in MODULES.items()
    ]
    return _write(folder, f"headgate-{tag}", [(source, target) for target, source in files.items()], images)


def write_etcd(folder: Path, reference: str, programs: Iterable[Path]) -> Path:
    """The archive of an image with etcd and its tools."""
    image = Image(reference, ("/usr/local/bin/etcd",), {"PATH": "/usr/local/bin"})
    return _write(folder, "etcd", [(path, f"/usr/local/bin/{path.name}") for path in programs], [image])


def write_pause(folder: Path, reference: str, program: Path) -> Path:
    """The archive of the image that keeps the namespaces of pods."""
    return _write(folder, "pause", [(program, "/pause")], [Image(reference, ("/pause",))])


def _write(folder: Path, name: str, files: list[File], images: list[Image]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    layer, archive = folder / f"{name}.layer", folder / f"{name}.tar"
    write_layer(layer, files, folders=("tmp",))
    write_archive(archive, layer, images, platform.machine())
    layer.unlink()
    return archive


def _reversed(files: list[File]) -> Iterator[tuple[str, Path]]:
    return ((target, source) for source, target in files)


def _python() -> Iterator[File]:
    """The interpreter and its standard library."""
    yield Path(sys.executable).resolve(), PYTHON
    for source in STANDARD.rglob("*"):
        name = f"/{source.relative_to(STANDARD)}"
        if source.is_file() and not UNUSED.search(name):
            yield source, f"/usr/local/lib/{STANDARD.name}{name}"


def _packages() -> Iterator[File]:
    """Every file of the distributions that ours require."""
    for found in _required(list(DISTRIBUTIONS)).values():
        for file in found.files or ():
            source = Path(str(found.locate_file(file)))
            if ".." not in file.parts and source.is_file():
                yield source, f"{PACKAGES}/{file}"
                yield from _compiled(source, Path(PACKAGES, file))


def _compiled(source: Path, target: Path) -> Iterator[File]:
    """The bytecode of a module, which a container cannot keep: every start would compile it anew."""
    if source.suffix == ".py" and (cached := Path(cache_from_source(str(source)))).exists():
        yield cached, str(target.parent / "__pycache__" / cached.name)


def _own(root: Path) -> Iterator[File]:
    for package, folder in OURS.items():
        compileall.compile_dir(root / folder / package, quiet=2)
        for source in (root / folder / package).rglob("*"):
            if source.is_file():
                yield source, f"{PACKAGES}/{source.relative_to(root / folder)}"


def _programs() -> Iterator[File]:
    """What hooks and pods run by its name."""
    yield HEADGATE, "/usr/local/bin/headgate"
    sleep = shutil.which("sleep")
    if sleep:
        yield Path(sleep), "/bin/sleep"


def _required(wanted: list[str]) -> dict[str, Distribution]:
    """The distributions of these requirements, and what they require in turn, by name."""
    found: dict[str, Distribution] = {}
    while wanted:
        requirement = Requirement(wanted.pop())
        name = canonicalize_name(requirement.name)
        if name not in found:
            found[name] = distribution(name)
            wanted += [line for line in found[name].requires or () if applies(line, requirement.extras)]
    return found


def applies(line: str, extras: Collection[str] = ()) -> bool:
    """Whether a requirement holds on this system, without extras or for one of these."""
    marker = Requirement(line).marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))


def _libraries(sources: list[Path]) -> list[File]:
    """The shared libraries that programs and extension modules need, each at the path where it is looked for."""
    binaries = [str(source) for source in sources if ".so" in source.suffixes or _is_elf(source)]
    found = subprocess.run(["ldd", *binaries], capture_output=True, text=True, check=False).stdout
    libraries = []
    for path in {Path(word) for word in re.findall(r"(?:=> |^\s+)(/\S+)", found, re.MULTILINE)}:
        system = (
            path.is_relative_to("/lib") or path.is_relative_to("/lib64") or path.is_relative_to("/usr/lib")
        )
        if not path.is_relative_to(sys.prefix):
            libraries.append((path, str(path) if system else f"/usr/local/lib/{path.name}"))
    return libraries


def _is_elf(source: Path) -> bool:
    with source.open("rb") as file:
        return file.read(4) == b"\x7fELF"
