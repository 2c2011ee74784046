"""headgate certs: what is in the certificates, and what is refused."""

from __future__ import annotations

import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from controlplane.rpc.client_certificate import Identity, Role, identity
from tests.unit.sdk.cli.conftest import Run


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def names(path: Path) -> list[str]:
    found = certificate(path).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return [str(name.value) for name in found.value]


@pytest.fixture
def folder(run: Run, tmp_path: Path) -> Path:
    folder = tmp_path / "certs"
    result = run(
        "certs", "init", "--out", str(folder), "--hosts", "CP.example.org, 10.0.0.5", "--service", "orders"
    )
    assert result.exit_code == 0, result.output
    return folder


def test_what_is_made(folder: Path) -> None:
    stems = ["ca", "controlplane", "dataplane", "service", "service-orders"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        f"{stem}.{kind}" for stem in stems for kind in ("pem", "key")
    )
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_every_pair_fits_and_is_signed_by_the_authority(folder: Path) -> None:
    authority = certificate(folder / "ca.pem")
    for stem in ("controlplane", "dataplane", "service", "service-orders"):
        made = certificate(folder / f"{stem}.pem")
        made.verify_directly_issued_by(authority)
        key = made.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(
            folder / f"{stem}.pem", folder / f"{stem}.key"
        )
        assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_the_names_in_them(folder: Path) -> None:
    assert names(folder / "controlplane.pem") == [
        "localhost",
        "127.0.0.1",
        "::1",
        "cp.example.org",
        "10.0.0.5",
    ]
    found = {
        stem: identity(*names(folder / f"{stem}.pem")) for stem in ("dataplane", "service", "service-orders")
    }
    assert found == {
        "dataplane": Identity(Role.DATAPLANE),
        "service": Identity(Role.SERVICE),
        "service-orders": Identity(Role.SERVICE, "orders"),
    }


def test_how_long_they_are_valid(run: Run, tmp_path: Path) -> None:
    assert run("certs", "init", "--out", str(tmp_path / "short"), "--days", "7").exit_code == 0
    ends = {
        stem: certificate(tmp_path / "short" / f"{stem}.pem").not_valid_after_utc
        for stem in ("ca", "dataplane")
    }
    now = datetime.now(UTC)
    assert timedelta(days=6.9) < ends["dataplane"] - now < timedelta(days=7.1)
    assert ends["ca"] - now > timedelta(days=3600)


def test_the_settings_are_told(run: Run, tmp_path: Path) -> None:
    said = run("certs", "init", "--out", str(tmp_path / "c")).stdout
    for line in said.splitlines():
        name, found, path = line.strip().partition("=")
        if found:
            assert name in said and Path(path).is_file()
    assert "GRPC_CLIENT_CA=" in said and "CONTROLPLANE_CERT=" in said and "HEADGATE_KEY=" in said


def test_nothing_is_overwritten(run: Run, folder: Path) -> None:
    before = {path: path.read_bytes() for path in folder.iterdir()}
    result = run("certs", "init", "--out", str(folder))
    assert result.exit_code == 1
    assert "holds ca.pem, ca.key, controlplane.pem" in result.stderr
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    (folder / "ca.pem").unlink()
    (folder / "ca.key").unlink()
    assert run("certs", "init", "--out", str(folder)).exit_code == 1
    assert not (folder / "ca.key").exists()


@pytest.mark.parametrize(
    ("arguments", "detail"),
    [
        (["--hosts", "a:50051"], "'a:50051' is neither a host name nor an IP address (and takes no port)"),
        (["--hosts", "good, b@d"], "'b@d' is neither"),
        (["--hosts", "x" * 64], "is neither"),
        (["--service", "a/b"], "'a/b' is not a name"),
        (["--days", "0"], "--days must be at least 1, not 0"),
    ],
)
def test_arguments_that_make_no_sense(run: Run, tmp_path: Path, arguments: list[str], detail: str) -> None:
    result = run("certs", "init", "--out", str(tmp_path / "c"), *arguments)
    assert result.exit_code == 2
    assert detail in result.stderr
    assert not (tmp_path / "c").exists()


def test_a_folder_that_cannot_be_written(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = run("certs", "init", "--out", str(tmp_path / "file" / "c"))
    assert result.exit_code == 1
    assert result.stderr == f"headgate: cannot write in {tmp_path / 'file' / 'c'}: Not a directory\n"


# issue


def test_one_more(run: Run, folder: Path) -> None:
    result = run("certs", "issue", "dataplane", "gw-1", "--dir", str(folder), "--days", "1")
    assert result.stdout.split() == [str(folder / "dataplane-gw-1.pem"), str(folder / "dataplane-gw-1.key")]
    assert identity(*names(folder / "dataplane-gw-1.pem")) == Identity(Role.DATAPLANE, "gw-1")
    certificate(folder / "dataplane-gw-1.pem").verify_directly_issued_by(certificate(folder / "ca.pem"))


def test_one_of_a_pool(run: Run, folder: Path) -> None:
    result = run("certs", "issue", "dataplane", "gw-1", "--pool", "edge", "--dir", str(folder))
    assert result.stdout.split()[0] == str(folder / "edge-dataplane-gw-1.pem")
    assert identity(*names(folder / "edge-dataplane-gw-1.pem")) == Identity(Role.DATAPLANE, "gw-1", "edge")
    run("certs", "issue", "dataplane", "--pool", "edge", "--dir", str(folder))
    assert identity(*names(folder / "edge-dataplane.pem")) == Identity(Role.DATAPLANE, None, "edge")


def test_one_anew(run: Run, folder: Path) -> None:
    before = certificate(folder / "controlplane.pem")
    assert run("certs", "issue", "controlplane", "--dir", str(folder)).exit_code == 0
    renewed = certificate(folder / "controlplane.pem")
    assert renewed.serial_number != before.serial_number
    assert names(folder / "controlplane.pem")[-2:] == ["cp.example.org", "10.0.0.5"]
    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(
        folder / "controlplane.pem", folder / "controlplane.key"
    )
    run("certs", "issue", "controlplane", "--dir", str(folder), "--hosts", "other")
    assert names(folder / "controlplane.pem") == ["localhost", "127.0.0.1", "::1", "other"]


@pytest.mark.parametrize(
    ("arguments", "code", "detail"),
    [
        (["service", "orders"], 1, "ca.pem: No such file or directory (`headgate certs init`)"),
        (["controlplane", "a"], 2, "a control plane's certificate has --hosts, not a name"),
        (["service", "--hosts", "a"], 2, "--hosts are for a control plane's certificate"),
        (["service", "--pool", "a"], 2, "--pool is for a data plane's certificate"),
        (["user"], 2, "'user' is not one of"),
    ],
)
def test_what_is_not_issued(run: Run, tmp_path: Path, arguments: list[str], code: int, detail: str) -> None:
    result = run("certs", "issue", *arguments, "--dir", str(tmp_path))
    assert result.exit_code == code
    assert detail in result.stderr


def test_an_authority_that_is_none(run: Run, folder: Path) -> None:
    (folder / "ca.key").write_bytes((folder / "service.key").read_bytes())
    assert "is not the key of" in run("certs", "issue", "service", "--dir", str(folder)).stderr
    (folder / "ca.key").write_text("no key")
    assert (
        "holds no authority that can be used" in run("certs", "issue", "service", "--dir", str(folder)).stderr
    )
