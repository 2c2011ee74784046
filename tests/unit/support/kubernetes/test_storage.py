"""Which volumes the cluster makes for claims, and which it removes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.kubernetes.storage import CLASS, ended, volume, wanted

FOLDER = Path("/volumes")


def claim(name: str, phase: str = "Pending", storage_class: str | None = CLASS) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "shop", "name": name, "uid": f"uid-{name}"},
        "spec": {
            "storageClassName": storage_class,
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "8Gi"}},
        },
        "status": {"phase": phase},
    }


def test_a_pending_claim_of_the_class_gets_a_folder_of_its_own() -> None:
    claims = [claim("a"), claim("b", "Bound"), claim("c", storage_class="other"), claim("d")]
    (made,) = wanted(claims, {"pvc-uid-d"}, FOLDER)
    assert made == volume(claim("a"), FOLDER)
    assert made["spec"]["claimRef"]["uid"] == "uid-a"
    assert made["spec"]["local"]["path"] == str(FOLDER / "pvc-uid-a")
    assert made["spec"]["capacity"] == {"storage": "8Gi"}


def test_a_volume_ends_with_its_claim() -> None:
    released = {**volume(claim("a"), FOLDER), "status": {"phase": "Released"}}
    bound = {**volume(claim("b"), FOLDER), "status": {"phase": "Bound"}}
    foreign = {"metadata": {"name": "c"}, "spec": {}, "status": {"phase": "Released"}}
    assert list(ended([released, bound, foreign])) == ["pvc-uid-a"]
