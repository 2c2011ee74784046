"""Which images the tests run."""

from __future__ import annotations

from tests.support.kubernetes.images import TAG, of_environment


def test_the_images_of_this_version_by_default() -> None:
    images = of_environment({})
    assert images.reference("headgate-sdk") == f"headgate-sdk:{TAG}"


def test_images_of_a_registry() -> None:
    images = of_environment(
        {"IMAGE_REGISTRY": "registry.example.org/team/", "IMAGE_TAG": "1", "ETCD_IMAGE": "e:2"}
    )
    assert images.reference("headgate-sdk") == "registry.example.org/team/headgate-sdk:1"
    assert images.etcd == "e:2"
