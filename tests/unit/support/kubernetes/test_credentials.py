"""Tokens and kubeconfig files."""

from __future__ import annotations

import json
import stat
from pathlib import Path

from tests.support.kubernetes import credentials
from tests.support.kubernetes.control_plane import apiserver_flags


def test_tokens_name_the_users_of_the_built_in_roles() -> None:
    table = credentials.token_table({"admin": "a", "kube-proxy": "b"})
    assert table == 'a,admin,admin,"system:masters"\nb,system:kube-proxy,kube-proxy\n'


def test_every_program_has_a_kubeconfig_for_its_owner_alone(tmp_path: Path) -> None:
    made = credentials.make(tmp_path)
    assert made.kubeconfigs.keys() == credentials.USERS.keys()
    kubeconfig = made.kubeconfigs["node1"]
    assert stat.S_IMODE(kubeconfig.stat().st_mode) == 0o600
    token = json.loads(kubeconfig.read_text())["users"][0]["user"]["token"]
    assert f'{token},system:node:node1,node1,"system:nodes"\n' in made.tokens.read_text()


def test_the_api_server_gets_the_public_key_of_service_accounts(tmp_path: Path) -> None:
    made = credentials.make(tmp_path)
    assert made.service_accounts_public.read_text().startswith("-----BEGIN CERTIFICATE-----")
    assert f"--service-account-key-file={made.service_accounts_public}" in apiserver_flags(
        made, "http://etcd"
    )
