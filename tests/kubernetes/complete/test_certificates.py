"""The job that renews generated certificates, with the rights that its Role gives it."""

from __future__ import annotations

import base64
import json

import pytest
from cryptography import x509

from tests.kubernetes.complete.conftest import READY, TIMEOUT, Complete
from tests.support.kubernetes.kubectl import KubectlError
from tests.support.kubernetes.release import NAME

pytestmark = pytest.mark.timeout(900)

LEAVES = (
    "headgate-controlplane-tls",
    "headgate-dataplane-tls",
    "headgate-etcd-tls",
    "headgate-etcd-client-tls",
)


def certificates(complete: Complete) -> dict[str, x509.Certificate]:
    """Those of the planes and of etcd."""
    found = {}
    for leaf in LEAVES:
        data = complete.kubectl.get("secret", f"{NAME}-{leaf}")["data"]
        found[leaf] = x509.load_pem_x509_certificate(base64.b64decode(data["tls.crt"]))
        authority = x509.load_pem_x509_certificate(base64.b64decode(data["ca.crt"]))
        found[leaf].verify_directly_issued_by(authority)
    return found


def test_certificates_that_are_not_due_are_kept(complete: Complete) -> None:
    before = certificates(complete)
    log = complete.run_job(job(complete), "not-due")
    assert log.count("valid for") == len(LEAVES)
    assert certificates(complete) == before


def test_certificates_that_are_due_are_renewed_and_used(complete: Complete) -> None:
    before = certificates(complete)
    due = complete.kubectl.run(
        "create", "job", "due", f"--from=cronjob/{job(complete)}", "--dry-run=client", "--output=json"
    )
    document = json.loads(due)
    (container,) = document["spec"]["template"]["spec"]["containers"]
    # All that are valid for fewer days than these.
    container["command"][-1] = "400"
    complete.kubectl.apply(document)
    complete.kubectl.wait("job/due", "condition=complete", TIMEOUT)
    after = certificates(complete)
    assert all(after[leaf].serial_number != before[leaf].serial_number for leaf in LEAVES)
    # New pods use the new ones with processes that may still have the old ones.
    for component in ("controlplane", "dataplane"):
        complete.kubectl.run("delete", "pod", complete.pods(component)[0])
    complete.rolled_out()
    assert READY in complete.helm.test(NAME, TIMEOUT)


def test_an_upgrade_keeps_what_the_job_has_made(complete: Complete) -> None:
    before = certificates(complete)
    complete.helm.upgrade(NAME, {}, wait="watcher", timeout=TIMEOUT)
    assert certificates(complete) == before


def test_the_account_of_the_job_may_do_nothing_else(complete: Complete) -> None:
    account = f"--as=system:serviceaccount:{complete.kubectl.namespace}:{NAME}-headgate-certificates"

    def may(*words: str) -> bool:
        try:
            return complete.kubectl.run("auth", "can-i", *words, account).strip() == "yes"
        except KubectlError as error:
            assert "no" in str(error)
            return False

    assert may("patch", f"secret/{NAME}-headgate-dataplane-tls")
    for words in (
        ("patch", f"secret/{NAME}-headgate-grpc-ca"),
        ("get", f"secret/{NAME}-headgate-secrets"),
        ("list", "secrets"),
        ("create", "secrets"),
        ("get", "pods"),
    ):
        assert not may(*words), words


def job(complete: Complete) -> str:
    """The name of the CronJob."""
    found: str = next(
        each["metadata"]["name"]
        for each in complete.kubectl.list("cronjobs", "app.kubernetes.io/component=certificates")
    )
    return found
