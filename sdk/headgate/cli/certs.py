"""headgate certs: certificates for the gRPC port, for operators without an authority."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import typer

from headgate.cli.failure import Failure

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True)

Hosts = Annotated[
    list[str] | None,
    typer.Option(
        "--hosts",
        help="Comma separated names and addresses of control planes, in addition to this machine's own.",
    ),
]
Days = Annotated[int, typer.Option(min=1, max=3650, help="Days of validity.")]


class Role(StrEnum):
    """The holder of a certificate."""

    controlplane = "controlplane"
    dataplane = "dataplane"
    service = "service"


@app.callback()
def certs() -> None:
    """Make certificates for control planes, data planes and services."""


@app.command()
def init(
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Folder to write to.")],
    hosts: Hosts = None,
    service: Annotated[
        list[str] | None, typer.Option("--service", help="Also a certificate for this service alone.")
    ] = None,
    days: Days = 365,
) -> None:
    """Make an authority, and certificates that it signed.

    They are for control planes, data planes and services. Nothing is overwritten. Keep ca.key where only you can
    read it: its holder can make more certificates.

    \b
    headgate certs init --out certs
    headgate certs init --out certs --hosts controlplane,10.0.0.5 --service orders --service payments
    """
    made = _module()
    subjects = [
        made.Subject("controlplane", hosts=made.split_hosts(hosts or ())),
        made.Subject("dataplane"),
        made.Subject("service"),
        *(made.Subject("service", name) for name in dict.fromkeys(service or ())),
    ]
    signing = made.Authority.create(out, subjects)
    for subject in subjects:
        signing.issue(subject, days)
    typer.echo(_settings(out, subjects, days).rstrip())


@app.command()
def issue(
    role: Annotated[Role, typer.Argument(help="The role of the holder.")],
    name: Annotated[
        str, typer.Argument(help="Name of the node or the service. Default: any of them.", show_default=False)
    ] = "",
    folder: Annotated[Path, typer.Option("--dir", help="Folder of `headgate certs init`.")] = Path(),
    hosts: Hosts = None,
    pool: Annotated[
        str,
        typer.Option(
            "--pool", help="Of a data plane: the pool. Default: that of the others.", show_default=False
        ),
    ] = "",
    days: Days = 365,
) -> None:
    """Make one more certificate, or renew one.

    Existing files are replaced, and running processes reload them. A control plane's certificate keeps its
    hosts when none are given.

    \b
    headgate certs issue service orders --dir certs
    headgate certs issue dataplane --pool edge --dir certs
    headgate certs issue controlplane --dir certs --hosts controlplane
    """
    made = _module()
    if name and role is Role.controlplane:
        raise Failure("a control plane's certificate has --hosts, not a name", 2)
    if hosts and role is not Role.controlplane:
        raise Failure("--hosts are for a control plane's certificate", 2)
    if pool and role is not Role.dataplane:
        raise Failure("--pool is for a data plane's certificate", 2)
    signing = made.Authority.read(folder)
    kept = signing.hosts() if role is Role.controlplane and not hosts else ()
    subject = made.Subject(role.value, name, made.split_hosts(hosts or kept), pool)
    certificate, key = signing.issue(subject, days)
    typer.echo(f"{certificate}\n{key}")


def _module() -> ModuleType:
    """Imported on demand, because the other commands do not need cryptography."""
    try:
        from headgate.cli import authority
    except ImportError:
        raise Failure(
            "`headgate certs` needs the package cryptography: pip install 'headgate-sdk[cli]'"
        ) from None
    return authority


def _settings(folder: Path, subjects: list[Any], days: int) -> str:
    at = folder.resolve()
    own = "\n".join(f"  {subject.stem}.pem, {subject.stem}.key" for subject in subjects if subject.name)
    return f"""Wrote certificates to {at}, valid for {days} days. Settings that use them:

control planes
  GRPC_CERT={at}/controlplane.pem
  GRPC_KEY={at}/controlplane.key
  GRPC_CLIENT_CA={at}/ca.pem

data planes
  CONTROLPLANE_CA={at}/ca.pem
  CONTROLPLANE_CERT={at}/dataplane.pem
  CONTROLPLANE_KEY={at}/dataplane.key

services (any of them; `headgate certs issue service NAME` makes one that is good for one service)
  HEADGATE_CA={at}/ca.pem
  HEADGATE_CERT={at}/service.pem
  HEADGATE_KEY={at}/service.key
{own}"""
