"""Settings: defaults that are safe, and every wrong value told in one message."""

from __future__ import annotations

import os
from ipaddress import ip_network
from pathlib import Path

import pytest

from controlplane.settings import Settings as ControlPlaneSettings
from dataplane.options import AccessLogOptions
from dataplane.redis.options import RedisOptions
from dataplane.setting_types import read_token, split_address
from dataplane.settings import SettingsError, load, misspelled
from tests.support.certificates import Authority

TOKEN = "t" * 16


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable of the developer's, no `.env` of the checkout."""
    monkeypatch.setattr(os, "environ", {})
    monkeypatch.chdir(tmp_path)


def given(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name, value in {"DATAPLANE_TOKEN": TOKEN, **variables}.items():
        monkeypatch.setenv(name, value)


def only(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    """These, and nothing that was given before."""
    monkeypatch.setattr(os, "environ", {})
    given(monkeypatch, **variables)


def complaint() -> str:
    with pytest.raises(SettingsError) as caught:
        load()
    return str(caught.value)


def test_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch)
    settings = load()
    assert (settings.listen, settings.status_listen) == ("0.0.0.0:8000", "127.0.0.1:8001")
    assert (settings.controlplane, settings.workers, settings.level) == (("127.0.0.1:50051",), 1, "info")
    assert (settings.rate_limit_per_second, settings.rate_limit_burst) == (100, 150)
    assert settings.node_name.endswith("-8000")
    assert not settings.expose_metrics


def test_the_token_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, WORKERS="x")
    assert TOKEN not in complaint()
    given(monkeypatch, WORKERS="1")
    assert TOKEN not in repr(load())


def test_everything_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    given(
        monkeypatch,
        LISTEN="[::]:80",
        NODE="edge-1",
        CONTROLPLANE="a:1, b:2",
        TRUSTED_PROXIES="10.0.0.0/8, ::1",
        DEBUG="true",
        RATE_LIMIT_PER_SECOND="0",
        CACHE_DIR="/var/cache/headgate",
    )
    settings = load()
    assert (settings.controlplane, settings.node_name, settings.level) == (("a:1", "b:2"), "edge-1", "debug")
    assert settings.trusted_proxies == (ip_network("10.0.0.0/8"), ip_network("::1"))
    assert split_address(settings.listen) == ("::", 80)


def test_a_dotenv_file_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text(f"DATAPLANE_TOKEN={TOKEN}\nWORKERS=3\nUNRELATED=1\n")
    monkeypatch.setenv("WORKERS", "2")
    assert load().workers == 2


def test_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch)
    with pytest.raises(ValueError, match="frozen"):
        load().workers = 2


def test_no_token() -> None:
    assert complaint() == (
        "DATAPLANE_TOKEN: is not set (at least 16 random characters, the same as on the control planes; "
        "or set DATAPLANE_TOKEN_FILE, or CONTROLPLANE_CERT to authenticate by a certificate)"
    )


def test_a_token_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "token"
    given(monkeypatch, DATAPLANE_TOKEN_FILE=str(file))
    assert "DATAPLANE_TOKEN and DATAPLANE_TOKEN_FILE must not both be set" in complaint()
    given(monkeypatch, DATAPLANE_TOKEN="", DATAPLANE_TOKEN_FILE=str(file))
    assert complaint() == f"DATAPLANE_TOKEN_FILE: cannot read {file}: No such file or directory"
    for content in (b"", b"# a comment only\n", b"short\n", b"with a space in the middle", b"\xff" * 20):
        file.write_bytes(content)
        assert complaint().startswith(f"DATAPLANE_TOKEN_FILE: {file}: the credential must ")
    file.write_text(f"# the newest first\n\n{TOKEN}\nthe-one-before-it\n")
    assert read_token(load().dataplane_token_file or file).get_secret_value() == TOKEN


def test_every_wrong_value_is_named_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    given(
        monkeypatch,
        DATAPLANE_TOKEN="short",
        LISTEN="8000",
        CONTROLPLANE="cp-1:50051,http://cp:50051",
        WORKERS="0",
        DRAIN_TIMEOUT="soon",
        TRUSTED_PROXIES="10.0.0.1/8",
        CONTROLPLANE_CA="/nowhere/ca.pem",
        CONTROLPLANE_CERT="/nowhere/cert.pem",
    )
    message = complaint()
    assert "\n" not in message
    for part in (
        "DATAPLANE_TOKEN: must be at least 16 characters long",
        "LISTEN: '8000' is not host:port",
        "CONTROLPLANE: 'http://cp:50051' is not host:port",
        "WORKERS: ",
        "DRAIN_TIMEOUT: ",
        "TRUSTED_PROXIES: 10.0.0.1/8 has host bits set",
        "CONTROLPLANE_CA: cannot read /nowhere/ca.pem: No such file or directory",
        "CONTROLPLANE_CERT: cannot read /nowhere/cert.pem: No such file or directory",
        "CONTROLPLANE_CERT and CONTROLPLANE_KEY must be set together",
    ):
        assert part in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LISTEN", "host:"),
        ("LISTEN", ":8000"),
        ("LISTEN", "host:70000"),
        ("LISTEN", "host:0"),
        ("LISTEN", "host:٨"),
        ("NODE", "no/slashes"),
        ("NODE", "../up"),
        ("CONTROLPLANE", ","),
        ("CONTROLPLANE", "a:1,b"),
        ("DATAPLANE_TOKEN", "with a space in it"),
        ("MAX_ROUTES", "0"),
        ("DRAIN_TIMEOUT", "-1"),
        ("DRAIN_TIMEOUT", "inf"),
        ("RATE_LIMIT_PER_SECOND", "nan"),
        ("RATE_LIMIT_BURST", "0"),
        ("LOG_LEVEL", "chatty"),
        ("ACCESS_LOG", "maybe"),
        ("UNIX_SOCKETS", "//run/apps"),
        ("UNIX_SOCKETS", "/."),
    ],
)
def test_a_wrong_value(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    given(monkeypatch, **{name: value})
    assert complaint().startswith(f"{name}: ")


def test_a_file_that_is_no_certificate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("hello")
    given(monkeypatch, CONTROLPLANE_CA=str(tmp_path / "ca.pem"))
    assert complaint() == f"CONTROLPLANE_CA: {tmp_path / 'ca.pem'} holds no PEM certificate"


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"TLS_LISTEN": "h:1"}, "TLS_LISTEN and TLS_CERTS must be set together"),
        (
            {"TLS_CERTS": "a:b"},
            "TLS_LISTEN and TLS_CERTS must be set together; TLS_CERTS: cannot read a: No such file or directory",
        ),
        ({"UPSTREAM_CERT": "a"}, "UPSTREAM_CERT and UPSTREAM_KEY must be set together"),
        (
            {"UPSTREAM_CERT": "/nowhere", "UPSTREAM_KEY": "/nowhere"},
            "UPSTREAM_CERT, UPSTREAM_KEY: cannot read /nowhere: No such file or directory",
        ),
        ({"TLS_LISTEN": "h:1", "TLS_CERTS": "x"}, "TLS_CERTS: 'x' is neither a folder nor certificate:key"),
        (
            {"TLS_LISTEN": "[::]:8000", "TLS_CERTS": "x"},
            "TLS_LISTEN: [::]:8000 is already used by LISTEN; TLS_CERTS: 'x' is neither a folder nor certificate:key",
        ),
        (
            {"TLS_LISTEN": "127.0.0.1:8001", "TLS_CERTS": ","},
            "TLS_CERTS: must name at least one file",
        ),
    ],
)
def test_certificates_that_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], said: str
) -> None:
    given(monkeypatch, **variables)
    assert complaint() == said


def test_request_headers_that_are_stripped(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, STRIP_REQUEST_HEADERS="X-Tenant, x_corp_*, Cookie")
    assert load().bounds.strip == ("X-Tenant", "x_corp_*", "Cookie")
    given(monkeypatch, STRIP_REQUEST_HEADERS="*, X Tenant, Host")
    assert "'*' must be a field name, or a prefix" in complaint()
    given(monkeypatch, STRIP_REQUEST_HEADERS="Host")
    assert "'Host' must not be listed: the gateway reads it" in complaint()


def test_the_access_log_is_json_on_stdout(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch)
    assert load().access_log_options() == AccessLogOptions()
    given(monkeypatch, ACCESS_LOG="false")
    assert load().access_log_options() is None


def test_an_access_log_of_ones_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    chosen = {"ACCESS_LOG_FIELDS": "time, header:X-Tenant", "ACCESS_LOG_REDACT": "X-Tenant, session[id]"}
    given(monkeypatch, ACCESS_LOG_FILE="access.log", ACCESS_LOG_SAMPLING="0.01", **chosen)
    assert load().access_log_options() == AccessLogOptions(
        str(tmp_path / "access.log"), "json", ("time", "header:x-tenant"), 0.01, ("X-Tenant", "session[id]")
    )
    only(monkeypatch, ACCESS_LOG_FORMAT="{client} {status}")
    assert load().access_log_options() == AccessLogOptions(format="{client} {status}")


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"ACCESS_LOG_FORMAT": "{statsu}"}, "ACCESS_LOG_FORMAT: 'statsu' is no field: did you mean status?"),
        ({"ACCESS_LOG_FIELDS": "statsu"}, "ACCESS_LOG_FIELDS: 'statsu' is no field: did you mean status?"),
        ({"ACCESS_LOG_FIELDS": "time,time"}, "ACCESS_LOG_FIELDS: 'time' is listed twice"),
        (
            {"ACCESS_LOG_FIELDS": "time", "ACCESS_LOG_FORMAT": "combined"},
            "ACCESS_LOG_FIELDS: a text names its fields itself: set ACCESS_LOG_FORMAT to json",
        ),
        ({"ACCESS_LOG_FILE": "no/such"}, "ACCESS_LOG_FILE: the folder no does not exist"),
        ({"ACCESS_LOG_FILE": "."}, "ACCESS_LOG_FILE: . is a folder"),
        ({"ACCESS_LOG_SAMPLING": "2"}, "ACCESS_LOG_SAMPLING: Input should be less than or equal to 1"),
        (
            {"ACCESS_LOG_REDACT": "a b"},
            "ACCESS_LOG_REDACT: 'a b' must be the name of a header or of a query parameter",
        ),
    ],
)
def test_a_wrong_access_log_is_explained(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], said: str
) -> None:
    given(monkeypatch, **variables)
    assert complaint() == said


def test_options_of_no_access_log_have_no_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, ACCESS_LOG="false", ACCESS_LOG_FORMAT="combined")
    assert "ACCESS_LOG_FORMAT has no effect: ACCESS_LOG is false" in load().warnings


def test_names_to_hide_have_an_effect_without_a_log_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tap hides them."""
    given(monkeypatch, ACCESS_LOG="false", ACCESS_LOG_REDACT="session")
    assert not any(warning.startswith("ACCESS_LOG_REDACT") for warning in load().warnings)


def test_redis_by_host_and_port(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch)
    assert load().redis_options() is None
    only(monkeypatch, REDIS_HOST="redis", REDIS_PORT="6380", REDIS_TIMEOUT="0.05", REDIS_KEY_PREFIX="shop:")
    assert load().redis_options() == RedisOptions((("redis", 6380),), timeout=0.05, prefix="shop:")
    assert list(load().warnings) == []


def test_redis_by_url(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, REDIS_HOST="other", REDIS_URL="rediss://gate:s%3Acret@[::1]:6400/2")
    options = load().redis_options()
    assert options == RedisOptions((("::1", 6400),), user="gate", password="s:cret", database=2, tls=True)
    assert "s:cret" not in repr(options)


def test_redis_by_sentinels_and_as_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    sentinels = {"REDIS_SENTINELS": "a:26379, b:26379", "REDIS_SENTINEL_NAME": "limits"}
    only(monkeypatch, REDIS_URL="redis://:pass@ignored", REDIS_SENTINEL_PASSWORD="theirs", **sentinels)
    assert load().redis_options() == RedisOptions(
        (("a", 26379), ("b", 26379)), sentinel="limits", password="pass", sentinel_password="theirs"
    )
    only(monkeypatch, REDIS_CLUSTER="[::1]:7000,b:7001")
    assert load().redis_options() == RedisOptions((("::1", 7000), ("b", 7001)), cluster=True)
    only(monkeypatch, REDIS_CLUSTER="a:7000", REDIS_SENTINELS="b:26379")
    assert "REDIS_SENTINELS and REDIS_CLUSTER must not both be set" in complaint()
    only(monkeypatch, REDIS_CLUSTER="a:7000", REDIS_URL="redis://h/1")
    assert "REDIS_URL: must name database 0 for a Cluster" in complaint()


@pytest.mark.parametrize(
    "url",
    [
        *("http://h", "redis://", "redis://h:port", "redis://h/db", "redis://h/-1"),
        *("redis://u:secret@h?x=1", "redis://:secret#1@h", "redis://:secret/1@h"),
    ],
)
def test_a_wrong_redis_url_is_told_without_its_password(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    only(monkeypatch, REDIS_URL=url)
    assert "REDIS_URL: " in complaint()
    assert "secret" not in complaint()


def test_a_client_certificate_for_redis(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    (cert, key), (_, other) = authority.issue("gateway"), authority.issue("other")
    url = "rediss://h"
    only(monkeypatch, REDIS_URL=url, REDIS_CERT=str(cert), REDIS_KEY=str(key))
    options = load().redis_options()
    assert options == RedisOptions((("h", 6379),), tls=True, cert=str(cert), key=str(key))
    assert RedisOptions.from_json(options.to_json()).context() is not None
    only(monkeypatch, REDIS_URL=url, REDIS_CERT=str(cert))
    assert "REDIS_CERT and REDIS_KEY must be set together" in complaint()
    only(monkeypatch, REDIS_URL=url, REDIS_CERT=str(cert), REDIS_KEY=str(other))
    assert "REDIS_KEY: " in complaint()
    only(monkeypatch, REDIS_URL="redis://h", REDIS_CERT=str(cert), REDIS_KEY=str(key))
    assert "REDIS_CERT has no meaning without REDIS_URL=rediss://" in complaint()


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        (
            "REDIS_HOST",
            "redis:6379",
            "must be a host name or an address without a port (IPv6 in brackets): set the port in",
        ),
        ("REDIS_HOST", "redis://redis", "must be a host name"),
        (
            "REDIS_KEY_PREFIX",
            "my shop:",
            "must be up to 64 printable ASCII characters without spaces and braces",
        ),
        ("NODE", "my node", "must be up to 128 letters, digits, '.', '_' or '-'"),
    ],
)
def test_a_value_of_a_wrong_form_is_told_in_words(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, told: str
) -> None:
    only(monkeypatch, **{name: value})
    assert f"{name}: {told}" in complaint()
    assert "pattern" not in complaint()


def test_limits_of_the_settings_in_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, RATE_LIMIT_MODE="redis")
    assert "RATE_LIMIT_MODE: redis needs REDIS_HOST" in complaint()
    only(monkeypatch, RATE_LIMIT_MODE="redis", REDIS_HOST="redis", RATE_LIMIT_ON_STORE_FAILURE="local")
    assert load().rate_limit_mode == "redis"
    only(monkeypatch, RATE_LIMIT_MODE="fleet")
    assert load().rate_limit_mode == "fleet"
    only(monkeypatch, RATE_LIMIT_MODE="everywhere")
    assert "RATE_LIMIT_MODE: " in complaint()


@pytest.mark.parametrize(
    ("variables", "without_effect"),
    [
        ({"REDIS_HOST": "a", "REDIS_URL": "redis://b"}, {"REDIS_HOST": "REDIS_URL is set"}),
        ({"REDIS_URL": "redis://b", "REDIS_PORT": "1"}, {"REDIS_PORT": "REDIS_URL is set"}),
        ({"REDIS_HOST": "a", "REDIS_CLUSTER": "b:1"}, {"REDIS_HOST": "REDIS_CLUSTER is set"}),
        ({"REDIS_HOST": "a", "REDIS_SENTINELS": "b:1"}, {"REDIS_HOST": "REDIS_SENTINELS is set"}),
        ({"REDIS_URL": "redis://:x@b", "REDIS_SENTINELS": "b:1", "REDIS_SENTINEL_NAME": "n"}, {}),
        (
            {"REDIS_HOST": "a", "REDIS_SENTINEL_NAME": "n"},
            {"REDIS_SENTINEL_NAME": "REDIS_SENTINELS is not set"},
        ),
        ({"REDIS_KEY_PREFIX": "x:"}, {"REDIS_KEY_PREFIX": "no Redis is configured"}),
        (
            {"REDIS_HOST": "a", "RATE_LIMIT_ON_STORE_FAILURE": "closed"},
            {"RATE_LIMIT_ON_STORE_FAILURE": "RATE_LIMIT_MODE is not redis"},
        ),
    ],
)
def test_settings_of_redis_that_nothing_reads_are_told(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], without_effect: dict[str, str]
) -> None:
    only(monkeypatch, **variables)
    expected = [f"{name} has no effect: {reason}" for name, reason in without_effect.items()]
    assert list(load().warnings) == expected


def test_without_a_common_secret_hidden_keys_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch)
    assert not list(load().warnings)
    known_by_certificate = load().model_copy(update={"dataplane_token": None})
    assert "LIMIT_KEY_SECRET is not set" in "".join(known_by_certificate.warnings)


@pytest.mark.parametrize("address", ["[::1]:80", "[fe80::1%eth0]:80", "cp_1.example.org:50051", "0.0.0.0:1"])
def test_addresses(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    given(monkeypatch, CONTROLPLANE=address)
    assert load().controlplane == (address,)


@pytest.mark.parametrize(
    "address", ["dns:///cp:1", "cp/x:1", "user@cp:1", "::1:80", "[::1:80", "a b:80", "cp:+1"]
)
def test_what_is_no_address(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    given(monkeypatch, CONTROLPLANE=address)
    assert f"CONTROLPLANE: {address!r} is not host:port" in complaint()


def test_misspelled_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given(monkeypatch, WORKER="4", NODE="a", NODES="b", PATH="/bin", CONTROLPLANE_PORT="tcp://10.0.0.1:50051")
    (tmp_path / ".env").write_text("RATE_LIMIT_PER_SECONDS=3\nSERVICE_TOKEN=of-the-control-plane\n")
    assert list(misspelled()) == [
        "RATE_LIMIT_PER_SECONDS is not a setting and has no effect: did you mean RATE_LIMIT_PER_SECOND?",
        "WORKER is not a setting and has no effect: did you mean WORKERS?",
    ]


def test_settings_of_the_control_plane_are_not_taken_for_misspelled_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ControlPlaneSettings.model_fields:
        monkeypatch.setenv(name.upper(), "1")
    assert list(misspelled()) == []
