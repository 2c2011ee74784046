"""TLS of the gRPC port in the chart: names, authorities and renewal of its certificates, and where they are used."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.support.chart import NEEDED, Objects, container, environment, helm, pod, problems, render
from tests.support.chart_upgrades import Release, decoded, release

ON: dict[str, Any] = {**NEEDED, "grpcTls": {"enabled": True}}
BY_CERT_MANAGER: dict[str, Any] = {**ON, "certificates": {"source": "certManager"}}
CONTROLPLANE, DATAPLANE = "Secret/demo-headgate-controlplane-tls", "Secret/demo-headgate-dataplane-tls"
DAY = 86_400


@pytest.fixture
def installed() -> Iterator[Release]:
    """A release in a fake cluster."""
    with release() as found:
        yield found


def certificate(objects: Objects, secret: str, name: str = "tls.crt") -> x509.Certificate:
    """A certificate in a rendered Secret."""
    return x509.load_pem_x509_certificate(decoded(objects[secret])[name])


def hosts(found: x509.Certificate) -> list[str]:
    """The DNS names in it."""
    return found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(
        x509.DNSName
    )


def test_the_certificate_has_the_names_that_data_planes_and_services_dial(installed: Release) -> None:
    objects = installed.upgrade({**ON, "grpcTls": {"enabled": True, "extraNames": ["grpc.example.org"]}})
    names = hosts(certificate(objects, CONTROLPLANE))
    dialled = environment(objects, "dataplane")["CONTROLPLANE"]["value"].rpartition(":")[0]
    assert dialled in names
    # Control planes follow each other by the first name; services in other namespaces use the others.
    assert names[0] == "demo-headgate-controlplane"
    assert {"demo-headgate-controlplane.prod.svc.cluster.local", "grpc.example.org"} <= set(names)
    assert not list(problems(objects))


def test_both_planes_use_certificates_of_one_authority(installed: Release) -> None:
    objects = installed.upgrade(ON)
    for secret in (CONTROLPLANE, DATAPLANE):
        found, authority = certificate(objects, secret), certificate(objects, secret, "ca.crt")
        found.verify_directly_issued_by(authority)
        uses = found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH} == set(uses)
    server, client = environment(objects, "controlplane"), environment(objects, "dataplane")
    assert {name: server[name]["value"] for name in ("GRPC_CERT", "GRPC_KEY", "GRPC_CLIENT_CA")} == {
        "GRPC_CERT": "/etc/headgate/grpc/tls.crt",
        "GRPC_KEY": "/etc/headgate/grpc/tls.key",
        "GRPC_CLIENT_CA": "/etc/headgate/grpc/ca.crt",
    }
    assert client["CONTROLPLANE_CA"]["value"] == "/etc/headgate/controlplane/ca.crt"
    assert {"CONTROLPLANE_CERT", "CONTROLPLANE_KEY", "DATAPLANE_TOKEN"} <= client.keys()
    for plane, folder in (("controlplane", "grpc"), ("dataplane", "controlplane")):
        (mount,) = (
            each for each in container(objects, plane)["volumeMounts"] if each["name"] == f"{folder}-tls"
        )
        assert mount["mountPath"] == f"/etc/headgate/{folder}"


def test_an_upgrade_keeps_certificates_until_they_near_their_end(installed: Release) -> None:
    first = installed.upgrade(ON)
    assert installed.upgrade(ON) == first
    for left, kept in ((121, True), (119, False)):
        old = copy.deepcopy(first[CONTROLPLANE])
        old["metadata"]["annotations"]["headgate/not-after"] = str(int(time.time()) + left * DAY + 60)
        installed.cluster.put(old)
        again = installed.upgrade(ON)
        assert (again[CONTROLPLANE]["data"] == old["data"]) is kept
        assert again[DATAPLANE] == first[DATAPLANE]
        assert again["Secret/demo-headgate-grpc-ca"] == first["Secret/demo-headgate-grpc-ca"]
    certificate(again, CONTROLPLANE).verify_directly_issued_by(certificate(first, DATAPLANE, "ca.crt"))


def test_another_name_makes_another_certificate(installed: Release) -> None:
    first = installed.upgrade(ON)
    again = installed.upgrade({**ON, "grpcTls": {"enabled": True, "extraNames": ["grpc.example.org"]}})
    assert "grpc.example.org" in hosts(certificate(again, CONTROLPLANE))
    assert again[DATAPLANE] == first[DATAPLANE]


def test_without_client_certificates_control_planes_still_know_each_other() -> None:
    secrets = {"controlplaneSecret": "a", "dataplaneSecret": "b"}
    objects = render({**NEEDED, "grpcTls": {"enabled": True, "clientCertificates": False, **secrets}})
    assert "GRPC_CLIENT_CA" not in environment(objects, "controlplane")
    assert environment(objects, "controlplane")["GRPC_PEER_CA"]["value"] == "/etc/headgate/grpc/ca.crt"
    assert not {"CONTROLPLANE_CERT", "CONTROLPLANE_KEY"} & environment(objects, "dataplane").keys()
    (volume,) = (each for each in pod(objects, "dataplane")["volumes"] if each["name"] == "controlplane-tls")
    assert volume["secret"] == {"secretName": "b", "items": [{"key": "ca.crt", "path": "ca.crt"}]}
    assert not list(problems(objects))


def mounted(objects: Objects) -> set[str]:
    """The Secrets that the pods of both planes mount: they do not start without them."""
    volumes = [volume for plane in ("controlplane", "dataplane") for volume in pod(objects, plane)["volumes"]]
    return {volume["secret"]["secretName"] for volume in volumes if "secret" in volume}


@pytest.mark.parametrize("client_certificates", [True, False])
@pytest.mark.parametrize("source", ["generate", "certManager"])
def test_every_secret_that_is_mounted_is_made(
    installed: Release, source: str, client_certificates: bool
) -> None:
    tls = {"enabled": True, "clientCertificates": client_certificates}
    objects = installed.upgrade({**NEEDED, "grpcTls": tls, "certificates": {"source": source}})
    issued = (each["spec"]["secretName"] for each in objects.values() if each["kind"] == "Certificate")
    made = {each["metadata"]["name"] for each in objects.values() if each["kind"] == "Secret"}
    assert mounted(objects) <= made | set(issued)
    # Data planes trust the authority that has signed the certificate of the control planes.
    (trusted,) = (each for each in pod(objects, "dataplane")["volumes"] if each["name"] == "controlplane-tls")
    own = "demo-headgate-dataplane-tls" if client_certificates else "demo-headgate-controlplane-tls"
    assert trusted["secret"]["secretName"] == own
    assert ("items" in trusted["secret"]) is not client_certificates


def test_cert_manager_issues_and_renews_the_same_certificates() -> None:
    objects = render({**BY_CERT_MANAGER, "grpcTls": {"enabled": True, "services": ["orders"]}})
    server = objects["Certificate/demo-headgate-controlplane-tls"]["spec"]
    assert server["dnsNames"][0] == "demo-headgate-controlplane"
    assert server["secretName"] == "demo-headgate-controlplane-tls"
    assert server["issuerRef"]["name"] == "demo-headgate-grpc-ca"
    authority = objects["Certificate/demo-headgate-grpc-ca"]["spec"]
    assert authority["isCA"] is True
    # With a new key, which is cert-manager's default, no certificate of the authority would stay valid.
    assert authority["privateKey"]["rotationPolicy"] == "Never"
    assert objects["Issuer/demo-headgate-grpc-ca"]["spec"] == {"ca": {"secretName": authority["secretName"]}}
    identities = {"dataplane-tls": "dataplane", "service-orders-tls": "service/orders"}
    for secret, path in identities.items():
        spec = objects[f"Certificate/demo-headgate-{secret}"]["spec"]
        assert spec["uris"] == [f"spiffe://headgate/headgate/{path}"]
    assert not [each for each in objects if each.startswith("Secret/")]


def test_an_issuer_of_ones_own_signs_in_place_of_an_authority_of_the_release() -> None:
    issuer = {"name": "corporate", "kind": "ClusterIssuer"}
    objects = render({**BY_CERT_MANAGER, "grpcTls": {"enabled": True, "issuerRef": issuer}})
    assert not [each for each in objects if each.startswith("Issuer/")]
    reference = objects["Certificate/demo-headgate-dataplane-tls"]["spec"]["issuerRef"]
    assert reference == {**issuer, "group": "cert-manager.io"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"grpcTls": {"enabled": True, "controlplaneSecret": "a"}}, "needs grpcTls.dataplaneSecret"),
        ({"grpcTls": {"enabled": True, "dataplaneSecret": "a"}}, "needs grpcTls.controlplaneSecret"),
        ({"grpcTls": {"services": ["orders"]}}, "needs grpcTls.enabled"),
        ({"certificates": {"days": 30, "renewDays": 30}}, "must be below certificates.days"),
        ({"grpcTls": {"enabled": True}}, "cannot be generated without a cluster"),
    ],
    ids=["one Secret", "the other", "services without TLS", "always renewed", "no cluster"],
)
def test_what_cannot_work_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(helm.HelmError, match=message):
        render({**NEEDED, **values})
