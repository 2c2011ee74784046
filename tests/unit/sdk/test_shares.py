"""Leases of workers in shared memory: those of dead workers are found."""

from __future__ import annotations

import os
import subprocess
import sys

from headgate.shares import SLOTS, Shares


def test_the_lease_of_a_worker_that_left_or_was_killed_is_found() -> None:
    shares = Shares()
    assert shares.instance_id == ""
    shares.hold(1, 11, "host-9000")
    assert shares.instance_id == "host-9000"
    assert not shares.dead(), "this process lives"
    shares.leave(1, 11)
    shares.leave(2, 12)
    assert shares.dead() == {1: 11, 2: 12}
    shares.clear([1])
    assert shares.dead() == {2: 12}


def test_a_process_that_has_ended_is_dead() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    shares = Shares()
    shares._write(3, child.pid, 13)
    assert shares.dead() == {3: 13}
    shares._write(3, os.getppid(), 13)
    assert not shares.dead()


def test_numbers_above_the_slots_begin_again() -> None:
    shares = Shares()
    shares.leave(SLOTS + 1, 2**62)
    assert shares.dead() == {1: 2**62}


def test_all_leases_are_the_rest_once_the_master_stops() -> None:
    shares = Shares()
    shares.hold(1, 11, "orders/a")
    child = subprocess.Popen([sys.executable, "-c", ""])
    # A zombie until somebody waits for it: it looks alive.
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    shares._write(2, child.pid, 12)
    assert not shares.dead()
    assert shares.rest() == [11, 12]
    child.wait()
    assert shares.dead() == {2: 12}
