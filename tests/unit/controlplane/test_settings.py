"""Settings: everything wrong in one line, secrets never shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from controlplane.settings import Settings, SettingsError, load, misspelled
from dataplane.settings import Settings as DataPlaneSettings
from tests.support.certificates import Authority

SECRETS = {
    "SECRET_KEY": "0123456789abcdef0123456789abcdef",
    "DATAPLANE_TOKEN": "dataplane-token-1",
    "SERVICE_TOKEN": "service-token-123",
}


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment in which nothing is missing."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "certificates")


def problems() -> str:
    with pytest.raises(SettingsError) as caught:
        load()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_defaults(environment: pytest.MonkeyPatch) -> None:
    settings = load()
    assert (settings.admin_listen, settings.grpc_listen) == ("127.0.0.1:8080", "127.0.0.1:50051")
    assert settings.etcd_endpoints == ("http://127.0.0.1:2379",)
    assert (settings.rate_limit_per_second, settings.rate_limit_burst) == (100, 150)
    assert (settings.expose_admin, settings.anonymous_read, settings.level) == (True, False, "info")


def test_everything_can_be_set(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("ETCD_ENDPOINTS", "http://etcd-1:2379, http://etcd-2:2379/")
    environment.setenv("ADMIN_LISTEN", "[::1]:80")
    environment.setenv("DEBUG", "true")
    environment.setenv("EXPOSE_ADMIN", "false")
    settings = load()
    assert settings.etcd_endpoints == ("http://etcd-1:2379", "http://etcd-2:2379")
    assert (settings.admin_listen, settings.level, settings.expose_admin) == ("[::1]:80", "debug", False)


def test_the_admin_api_is_not_served_unencrypted_to_other_machines(
    environment: pytest.MonkeyPatch, authority: Authority
) -> None:
    cert, key = authority.issue("server")
    for address in ("0.0.0.0:8080", "[::]:8080", "10.0.0.1:80", "controlplane:8080"):
        environment.setenv("ADMIN_LISTEN", address)
        assert problems() == (
            f"ADMIN_LISTEN: on {address}, passwords and tokens would cross the network unencrypted: set ADMIN_CERT and "
            "ADMIN_KEY, or ADMIN_PLAINTEXT=true for a private network or behind a proxy that ends TLS"
        )
    environment.setenv("ADMIN_PLAINTEXT", "true")
    assert load().admin_plaintext
    environment.delenv("ADMIN_PLAINTEXT")
    environment.setenv("ADMIN_CERT", str(cert))
    assert "ADMIN_CERT and ADMIN_KEY must be set together" in problems()
    environment.setenv("ADMIN_KEY", str(key))
    assert load().admin_cert == cert


def test_the_admin_apis_certificate_and_key_belong_together(
    environment: pytest.MonkeyPatch, authority: Authority
) -> None:
    (cert, _), (_, key) = authority.issue("one"), authority.issue("other")
    environment.setenv("ADMIN_CERT", str(cert))
    environment.setenv("ADMIN_KEY", str(key))
    assert problems() == f"ADMIN_KEY: {key} is not the unencrypted private key of {cert}"
    for name in ("ADMIN_CERT", "ADMIN_KEY"):
        environment.delenv(name)
    environment.setenv("ADMIN_CA", str(authority.certificate))
    assert problems() == "ADMIN_CA needs ADMIN_CERT and ADMIN_KEY"


def test_no_secret_has_a_default() -> None:
    for name in ("SECRET_KEY", "DATAPLANE_TOKEN"):
        assert f"{name}: is not set" in problems()


def test_a_token_of_the_services_may_be_left_out(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("SERVICE_TOKEN")
    assert load().service_token is None


def test_service_account_tokens_need_a_cluster(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SERVICE_ACCOUNT_TOKENS", "true")
    assert problems() == "SERVICE_ACCOUNT_TOKENS: needs KUBERNETES_URL, as this process runs in no pod"
    environment.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    assert load().service_account_audience == "headgate"
    environment.setenv("SERVICE_ACCOUNT_ISSUERS", "https://old.example, https://new.example")
    assert load().service_account_issuers == ("https://old.example", "https://new.example")


def test_certificates_stand_for_tokens(environment: pytest.MonkeyPatch, authority: Authority) -> None:
    environment.delenv("DATAPLANE_TOKEN")
    cert, key = authority.issue("server")
    environment.setenv("GRPC_CERT", str(cert))
    environment.setenv("GRPC_KEY", str(key))
    assert (
        "DATAPLANE_TOKEN: is not set" in problems()
    )  # those of the server alone tell nothing of its callers
    environment.setenv("GRPC_CLIENT_CA", str(authority.certificate))
    assert load().dataplane_token is None


def test_tokens_from_files(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    environment.setenv("DATAPLANE_TOKEN_FILE", str(file))
    assert "DATAPLANE_TOKEN and DATAPLANE_TOKEN_FILE must not both be set" in problems()
    environment.delenv("DATAPLANE_TOKEN")
    assert f"DATAPLANE_TOKEN_FILE: cannot read {file}: No such file or directory" in problems()
    file.write_text("long-enough-token\nshort\n")
    assert problems() == f"DATAPLANE_TOKEN_FILE: {file}, line 2: must be 16 to 1024 visible ASCII characters"
    file.write_text("long-enough-token\n")
    assert load().dataplane_token_file == file


def test_one_token_for_both_purposes_is_refused(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SERVICE_TOKEN", SECRETS["DATAPLANE_TOKEN"])
    assert problems() == "SERVICE_TOKEN: must not be the same as DATAPLANE_TOKEN"


def test_an_empty_value_is_not_set(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SECRET_KEY", "")
    environment.setenv("ETCD_CA", "")
    assert problems().startswith("SECRET_KEY: is not set")


def test_the_dotenv_file_is_read_and_the_environment_prevails(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.delenv("SECRET_KEY")
    lines = [f"SECRET_KEY={'k' * 32}", "DEBUG=true", "LOG_LEVEL=error", "ANOTHER_PROGRAMS=1"]
    (tmp_path / ".env").write_text("\n".join(lines))
    environment.setenv("LOG_LEVEL", "warning")
    settings = load()
    assert settings.secret_key.get_secret_value() == "k" * 32
    assert (settings.debug, settings.log_level) == (True, "warning")


def test_a_dotenv_file_that_cannot_be_read(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"\xff\xfe")
    assert ".env" in problems()


@pytest.mark.parametrize(
    ("name", "value", "detail"),
    [
        ("ADMIN_LISTEN", "8080", "ADMIN_LISTEN: '8080' is not host:port"),
        ("ADMIN_LISTEN", ":8080", "ADMIN_LISTEN: ':8080' is not host:port"),
        ("GRPC_LISTEN", "localhost:99999", "is not host:port"),
        ("GRPC_LISTEN", "localhost:x", "is not host:port"),
        ("ADVERTISE", "host", "ADVERTISE: 'host' is not host:port"),
        ("ADVERTISE", "http://host:8080", "ADVERTISE: 'http://host:8080' is not host:port"),
        ("ETCD_ENDPOINTS", "http://etcd:2379/v3", "'etcd:2379/v3' is not host:port"),
        ("ETCD_ENDPOINTS", "localhost:2379", "is not http://host:port or https://host:port"),
        ("ETCD_ENDPOINTS", "http://a:1,https://b:2", "must not mix"),
        ("ETCD_ENDPOINTS", ",", "ETCD_ENDPOINTS: "),
        ("SECRET_KEY", "short", "SECRET_KEY: must be 32 to 1024 characters long"),
        ("DATAPLANE_TOKEN", "short", "DATAPLANE_TOKEN: must be 16 to 1024"),
        ("SERVICE_TOKEN", "x" * 15, "SERVICE_TOKEN: must be 16 to 1024"),
        ("ADMIN_PASSWORD", "1234567", "ADMIN_PASSWORD: must be 8 to 128"),
        ("ADMIN_PASSWORD", "x" * 129, "ADMIN_PASSWORD: must be 8 to 128"),
        ("ADMIN_USERNAME", "a b", "ADMIN_USERNAME: must be 1 to 64 letters"),
        ("ACCESS_TOKEN_TTL", "1", "ACCESS_TOKEN_TTL: "),
        ("DEBUG", "perhaps", "DEBUG: "),
        ("LOG_LEVEL", "loud", "LOG_LEVEL: "),
        ("RATE_LIMIT_PER_SECOND", "nan", "RATE_LIMIT_PER_SECOND: "),
        ("RATE_LIMIT_BURST", "-1", "RATE_LIMIT_BURST: "),
        ("REDIS_PORT", "0", "REDIS_PORT: "),
        ("ETCD_CA", "/nowhere/ca.pem", "ETCD_CA: cannot read /nowhere/ca.pem: No such file or directory"),
        ("GRPC_KEY", "/", "GRPC_KEY: cannot read /: Is a directory"),
        ("ETCD_CERT", "/nowhere", "ETCD_CERT and ETCD_KEY must be set together"),
        ("GRPC_CERT", "/nowhere", "GRPC_CERT and GRPC_KEY must be set together"),
        ("ETCD_USERNAME", "root", "ETCD_USERNAME and ETCD_PASSWORD must be set together"),
        ("UNIX_SOCKETS", "//run/apps", "UNIX_SOCKETS: '//run/apps' is not the absolute path of a folder"),
        ("UNIX_SOCKETS", "/.", "UNIX_SOCKETS: '/.' is not the absolute path of a folder"),
        ("GRPC_CLIENT_CA", "/nowhere", "GRPC_CLIENT_CA needs GRPC_CERT and GRPC_KEY"),
    ],
)
def test_wrong_values(environment: pytest.MonkeyPatch, name: str, value: str, detail: str) -> None:
    environment.setenv(name, value)
    assert detail in problems()


def test_all_wrong_values_at_once(environment: pytest.MonkeyPatch) -> None:
    wrong = {"ADMIN_LISTEN": "x", "DEBUG": "x", "SECRET_KEY": "x", "ETCD_USERNAME": "x", "GRPC_CERT": "/x"}
    for name, value in wrong.items():
        environment.setenv(name, value)
    environment.delenv("DATAPLANE_TOKEN")
    found = problems()
    for name in (*wrong, "DATAPLANE_TOKEN"):
        assert name in found


def test_certificates_are_looked_into(
    environment: pytest.MonkeyPatch, tmp_path: Path, authority: Authority
) -> None:
    first, second = authority.issue("first"), authority.issue("second")
    environment.setenv("GRPC_CERT", str(first[0]))
    environment.setenv("GRPC_KEY", str(second[1]))
    assert "GRPC_KEY" in problems()
    assert "is not the unencrypted private key of" in problems()
    environment.setenv("GRPC_KEY", str(first[1]))
    assert load().grpc_key == first[1]
    (tmp_path / "text").write_text("no certificate")
    environment.setenv("GRPC_CLIENT_CA", str(tmp_path / "text"))
    assert f"GRPC_CLIENT_CA: {tmp_path / 'text'} holds no PEM certificate" in problems()


def test_certificates_for_etcd_need_https(environment: pytest.MonkeyPatch, authority: Authority) -> None:
    environment.setenv("ETCD_CA", str(authority.certificate))
    assert "ETCD_CA and ETCD_CERT need https://" in problems()
    environment.setenv("ETCD_ENDPOINTS", "https://etcd:2379")
    assert load().etcd_ca == authority.certificate


def test_secrets_are_not_shown(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("ADMIN_PASSWORD", "very secret")
    environment.setenv("ETCD_USERNAME", "root")
    environment.setenv("ETCD_PASSWORD", "etcds secret")
    shown = repr(load()) + str(load())
    for secret in (*SECRETS.values(), "very secret", "etcds secret"):
        assert secret not in shown
    environment.setenv("SECRET_KEY", "too short")
    environment.setenv("ADMIN_PASSWORD", "2short")
    assert "too short" not in problems()
    assert "2short" not in problems()


def test_settings_are_frozen(environment: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError):
        load().debug = True


def test_misspelled_variables(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment.setenv("ADMIN_PASWORD", "12345678")
    (tmp_path / ".env").write_text("ADMIN_LISTENS=127.0.0.1:1\n")
    assert list(misspelled()) == [
        "ADMIN_LISTENS is not a setting and has no effect: did you mean ADMIN_LISTEN?",
        "ADMIN_PASWORD is not a setting and has no effect: did you mean ADMIN_PASSWORD?",
    ]


def test_settings_of_data_planes_are_not_taken_for_misspelled_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in DataPlaneSettings.model_fields:
        monkeypatch.setenv(name.upper(), "1")
    assert list(misspelled()) == []
