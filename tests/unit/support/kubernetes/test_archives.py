"""Image archives as `docker save` writes them."""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path

from tests.support.kubernetes.archives import Image, write_archive, write_layer


def test_images_share_one_layer(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o700)
    layer, path = tmp_path / "layer", tmp_path / "images.tar"
    write_layer(layer, [(program, "/bin/program")], folders=["tmp"])
    images = [Image("one:1", ("/bin/program",), {"A": "b"}), Image("two:1", ("/bin/program", "-x"))]
    write_archive(path, layer, images, "x86_64")

    with tarfile.open(path) as archive:
        manifest = json.loads(_read(archive, "manifest.json"))
        assert [entry["RepoTags"] for entry in manifest] == [["one:1"], ["two:1"]]
        content = _read(archive, manifest[0]["Layers"][0])
        config = json.loads(_read(archive, manifest[0]["Config"]))
    assert content == layer.read_bytes()
    assert config["architecture"] == "amd64"
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(content).hexdigest()}"]
    assert config["config"] == {"Entrypoint": ["/bin/program"], "Env": ["A=b"], "User": "65532:65532"}


def test_every_user_may_read_and_run_what_the_layer_has(tmp_path: Path) -> None:
    program, data = tmp_path / "program", tmp_path / "data"
    program.touch(0o700)
    data.touch(0o600)
    write_layer(tmp_path / "layer", [(program, "/bin/program"), (data, "/data")], folders=["tmp"])
    with tarfile.open(tmp_path / "layer") as layer:
        modes = {entry.name: (entry.mode, entry.uid) for entry in layer}
    assert modes == {"tmp": (0o1777, 0), "bin/program": (0o755, 0), "data": (0o644, 0)}


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    assert file is not None
    return file.read()
