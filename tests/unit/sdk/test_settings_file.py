"""The file in which an operator states settings once, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from headgate import Misconfigured, settings_file
from headgate.target import Target


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "services.toml"
    monkeypatch.setenv("HEADGATE_CONFIG", str(path))
    return path


def test_it_fills_what_arguments_and_environment_leave_out(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("of-the-file")
    file.write_text(f'controlplane = "127.0.0.1:1, 127.0.0.1:2"\ntoken_file = "{tmp_path}/token"\n')
    target = Target.make()
    assert (target.addresses, target.bearer) == (("127.0.0.1:1", "127.0.0.1:2"), "of-the-file")
    monkeypatch.setenv("HEADGATE_TOKEN", "of-the-environment")
    assert Target.make("127.0.0.1:3").addresses == ("127.0.0.1:3",)
    assert Target.make().bearer == "of-the-environment"


@pytest.mark.parametrize(
    ("host", "trusted"),
    [
        ("controlplane", True),
        ("ControlPlane.", True),
        ("controlplane.example.org", False),
        ("gate.svc.cluster.local", True),
        ("svc.cluster.local", False),
        ("gate.svc.cluster.local.example.org", False),
        ("10.1.2.3", True),
        ("11.1.2.3", False),
        ("[fd00::1]", True),
        ("[fe80::1]", False),
    ],
)
def test_plain_text_within_what_the_operator_trusts(file: Path, host: str, trusted: bool) -> None:
    file.write_text('plain_text_to = ["controlplane", "*.svc.cluster.local", "10.0.0.0/8", "fd00::/8"]')
    if trusted:
        Target.make(f"{host}:50051", token="secret")
    else:
        with pytest.raises(Misconfigured, match=r"plain_text_to of .*services\.toml"):
            Target.make(f"{host}:50051", token="secret")


def test_every_address_must_be_trusted(file: Path) -> None:
    file.write_text('plain_text_to = ["a"]')
    with pytest.raises(Misconfigured, match="would travel to b:1 in plain text"):
        Target.make("a:1,b:1", token="secret")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("plain_text = []", "plain_text is not a setting; did you mean plain_text_to?"),
        ("controlplane = 1\nca = ''", "controlplane must be text; ca must be text"),
        ('plain_text_to = "a"', "plain_text_to must be a list of names and networks"),
        ('plain_text_to = ["*"]', "plain_text_to: '*' is not a name, *.suffix or network"),
        ('plain_text_to = ["10.0.0.0/40"]', "plain_text_to: '10.0.0.0/40' is not a name"),
        ("controlplane", "is not TOML: "),
    ],
)
def test_what_is_wrong_is_one_line(file: Path, content: str, said: str) -> None:
    file.write_text(content)
    with pytest.raises(Misconfigured) as caught:
        Target.make()
    assert said in str(caught.value) and str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_that_is_named_must_be_there(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Misconfigured, match="HEADGATE_CONFIG: there is no file"):
        Target.make()
    monkeypatch.delenv("HEADGATE_CONFIG")
    assert settings_file.load() == settings_file.FileSettings()


def test_another_encoding_is_told_in_our_words(file: Path) -> None:
    file.write_bytes(b"# caf\xe9\n")
    with pytest.raises(Misconfigured, match=r"services\.toml is not TOML: not UTF-8 at byte 5$"):
        Target.make()
