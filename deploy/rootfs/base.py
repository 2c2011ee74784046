"""The rest of what a process expects: users, certificates of authorities, names, a folder for temporary files."""

from __future__ import annotations

import ssl
import sys
from pathlib import Path

from deploy.rootfs import files

HOME = "/var/lib/headgate"
USER = 65532
PASSWD = f"root:x:0:0:root:/root:/sbin/nologin\nheadgate:x:{USER}:{USER}:headgate:{HOME}:/sbin/nologin\n"
GROUP = f"root:x:0:\nheadgate:x:{USER}:\n"
NAMES = "passwd: files\ngroup: files\nhosts: files dns\n"
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
COPIED = (Path("/etc/os-release"), Path("/etc/ssl/openssl.cnf"), AUTHORITIES)
"""Files of the base that are in the image as they are, if the base has them."""


def lay_out(out: Path) -> None:
    """Make the tree's folders, links and files of /etc."""
    (out / "tmp").mkdir(parents=True)
    (out / "tmp").chmod(0o1777)
    for name in ("bin", "lib", "lib64"):
        link = Path("/", name)
        if link.is_symlink():
            files.link(str(link.readlink()), out / name)
    for path in origins():
        files.copy_file(path, files.inside(out, path))
    for name, text in (("passwd", PASSWD), ("group", GROUP), ("nsswitch.conf", NAMES)):
        (out / "etc" / name).write_text(text)
    _trust(out)


def origins() -> list[Path]:
    """Those of the copied files that this base has."""
    return [path for path in COPIED if path.exists()]


def _trust(out: Path) -> None:
    """Let OpenSSL find the authorities where it looks by default."""
    default = Path(ssl.get_default_verify_paths().openssl_cafile)
    if not files.inside(out, AUTHORITIES).exists():
        sys.stderr.write(f"The base has no {AUTHORITIES}: install ca-certificates in it\n")
    elif not files.inside(out, default).exists():
        files.link(str(AUTHORITIES), files.inside(out, default))
    settings = default.parent / "openssl.cnf"
    if settings.exists() and not files.inside(out, settings).exists():
        files.link("/etc/ssl/openssl.cnf", files.inside(out, settings))
