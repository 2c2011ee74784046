"""What a worker is started with."""

from __future__ import annotations

from dataplane.supervisor.process import SECRETS, environment


def test_workers_get_no_secret() -> None:
    ours = dict.fromkeys(SECRETS, "secret") | {"PATH": "/bin"}
    assert "secret" not in environment(ours).values()
    assert environment(ours)["PATH"] == "/bin"


def test_whoever_tunes_the_allocator_is_left_to_it() -> None:
    assert environment({"GLIBC_TUNABLES": "glibc.malloc.check=3"})["GLIBC_TUNABLES"] == "glibc.malloc.check=3"
    assert "tcache_max=4096" in environment({})["GLIBC_TUNABLES"]
