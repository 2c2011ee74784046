"""What workers are given beside their configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import Mock

from dataplane.options import WorkerOptions
from dataplane.settings import Settings
from dataplane.supervisor.launch import Launcher, limit_secret

TOKEN = "the-data-planes-token"


def settings(**changes: Any) -> Settings:
    return Settings(_env_file=None, **changes)  # type: ignore[call-arg]


def test_data_planes_that_share_a_token_hide_keys_in_the_same_way(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    by_token, by_file = (
        limit_secret(settings(dataplane_token=TOKEN)),
        limit_secret(settings(dataplane_token_file=file)),
    )
    assert by_token == by_file
    assert TOKEN not in by_token
    assert len(bytes.fromhex(by_token)) == 32


def test_a_secret_of_its_own_counts_before_the_token() -> None:
    own = [
        settings(dataplane_token=token, limit_key_secret="one-secret-for-all")
        for token in (TOKEN, TOKEN + "x")
    ]
    assert limit_secret(own[0]) == limit_secret(own[1]) != limit_secret(settings(dataplane_token=TOKEN))


def test_workers_know_which_networks_names_may_and_must_not_lead_to() -> None:
    known = settings(
        dataplane_token=TOKEN, register_allow="127.0.0.0/8", register_deny="10.1.0.0/16,fd00::/8"
    )
    given = Launcher(known, Mock())._options(0, 3, 4, -1)
    options = WorkerOptions.from_json(given.to_json())
    assert (options.register_allow, options.register_deny) == (
        ("127.0.0.0/8",),
        ("10.1.0.0/16", "fd00::/8"),
    )
