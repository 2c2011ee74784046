"""The built images: small, without a shell, and able to run with nothing but their own files."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from deploy.images import LIMITS, MEGABYTE
from tests.support.docker import NAMES, ROOT, VERSION, Engine

CONFINED = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--network=none")
PACKAGE = {"controlplane": "controlplane", "dataplane": "dataplane", "sdk": "headgate"}
IMPORT_ALL = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
names = [found.name for found in pkgutil.walk_packages(package.__path__, sys.argv[1] + ".")]
for name in names:
    if not name.endswith(".__main__"):
        importlib.import_module(name)
print(len(names))
"""
INSTALLED = (
    "import importlib.metadata as m; print(*sorted({d.name + '=' + d.version for d in m.distributions()}))"
)
COMPILED = """
import pathlib, sys
sources = [p for root in ("/usr/lib", "/usr/local/lib", "/opt") for p in pathlib.Path(root).rglob("*.py")]
name = f"__pycache__/%s.{sys.implementation.cache_tag}.pyc"
print(*[p for p in sources if not (p.parent / (name % p.stem)).exists()], sep="\\n")
"""
pytestmark = pytest.mark.timeout(1800)


def python(docker: Engine, image: str, source: str, *arguments: str) -> str:
    """What a script prints in a container that may do as little as possible."""
    command = ("run", "--rm", *CONFINED, "--entrypoint=python3", image, "-c", source, *arguments)
    return docker(*docker.labelled(command))


@pytest.mark.parametrize("name", NAMES)
def test_an_image_is_small(docker: Engine, images: dict[str, str], name: str) -> None:
    size = sum(docker.files(images[name]).values())
    assert size < LIMITS[name] * MEGABYTE


@pytest.mark.parametrize("name", NAMES)
def test_every_module_is_there_and_so_is_all_that_it_imports(
    docker: Engine, images: dict[str, str], name: str
) -> None:
    assert int(python(docker, images[name], IMPORT_ALL, PACKAGE[name])) > 5
    assert int(python(docker, images[name], IMPORT_ALL, "headgate_api")) > 5


@pytest.mark.parametrize("name", NAMES)
def test_a_program_says_its_version(docker: Engine, images: dict[str, str], name: str) -> None:
    assert VERSION in docker(*docker.labelled(("run", "--rm", *CONFINED, images[name], "--version")))


@pytest.mark.parametrize("name", NAMES)
def test_it_does_not_run_as_root_and_has_a_home(docker: Engine, images: dict[str, str], name: str) -> None:
    source = "import os; print(os.getuid(), os.getgid(), os.stat(os.getcwd()).st_uid, os.environ['HOME'])"
    assert python(docker, images[name], source) == "65532 65532 65532 /var/lib/headgate"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("program", ["sh", "/bin/sh", "bash", "pip", "apt-get", "cc"])
def test_there_is_nothing_to_look_around_or_to_install_with(
    docker: Engine, images: dict[str, str], name: str, program: str
) -> None:
    started = docker.run(
        *docker.labelled(("run", "--rm", f"--entrypoint={program}", images[name], "-c", "true"))
    )
    assert started.returncode == 127
    assert "executable file not found" in started.stderr or "no such file" in started.stderr


@pytest.mark.parametrize("name", NAMES)
def test_labels_tell_version_commit_and_time(docker: Engine, images: dict[str, str], name: str) -> None:
    labels = json.loads(docker("image", "inspect", "--format", "{{json .Config.Labels}}", images[name]))
    assert labels["org.opencontainers.image.version"] == VERSION
    assert len(labels["org.opencontainers.image.revision"].removesuffix("+changes")) == 40
    assert labels["org.opencontainers.image.created"].endswith("Z")


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_compiled_at_a_start(docker: Engine, images: dict[str, str], name: str) -> None:
    assert python(docker, images[name], COMPILED) == ""


def test_the_request_path_is_compiled(docker: Engine, images: dict[str, str]) -> None:
    source = "import dataplane.gateway.plan; print(dataplane.gateway.plan.__file__)"
    assert python(docker, images["dataplane"], source).endswith(".so")


@pytest.mark.parametrize("name", NAMES)
def test_authorities_are_trusted_by_default(docker: Engine, images: dict[str, str], name: str) -> None:
    source = "import ssl; print(len(ssl.create_default_context().get_ca_certs()))"
    assert int(python(docker, images[name], source)) > 50


@pytest.mark.parametrize("name", NAMES)
def test_the_bill_of_materials_lists_all_that_is_installed(
    docker: Engine, images: dict[str, str], name: str
) -> None:
    bom = json.loads(python(docker, images[name], "print(open('/opt/headgate/sbom.cdx.json').read())"))
    parts = [bom["metadata"]["component"], *bom["components"]]
    listed = {f"{part['name']}={part['version']}" for part in parts if part["purl"].startswith("pkg:pypi/")}
    assert listed == set(python(docker, images[name], INSTALLED).split())
    system = {part["name"] for part in parts if part["purl"].startswith("pkg:deb/")}
    assert {"libc6", "zlib1g"} <= system


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """A checkout with files that must not leave this machine, and a Dockerfile that copies everything."""
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    for path in tracked.stdout.splitlines():
        target = tmp_path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / path).read_bytes())
    for secret in (".env", "proto/.env", "dataplane/.env.local", ".headgate/demo.json", ".git/config"):
        (tmp_path / secret).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / secret).write_text("SECRET_KEY=secret\n")
    (tmp_path / "sdk/headgate/__pycache__").mkdir()
    (tmp_path / "sdk/headgate/__pycache__/x.cpython-311.pyc").write_bytes(b"x")
    (tmp_path / "Dockerfile").write_text('FROM scratch\nCOPY . /\nCMD ["none"]\n')
    return tmp_path


def test_the_build_context_is_small_and_has_no_secret(docker: Engine, planted: Path, tmp_path: Path) -> None:
    image = f"{docker.prefix}-context"
    docker("build", "--tag", image, str(planted))
    listed = docker.files(image)
    assert {"constraints.txt", "VERSION", "LICENSE", "sdk/pyproject.toml"} <= listed.keys()
    hidden = {".env", ".git", ".headgate", "__pycache__", "tests", "docs", ".env.local"}
    assert not {path for path in listed if hidden & set(path.split("/"))}
    assert sum(listed.values()) < 5 * MEGABYTE
