"""DNS records become instances, and a time to ask again."""

from __future__ import annotations

import pytest

from controlplane.discovery import backoff
from controlplane.discovery.answer import Answer, Candidate, checked, instance_id
from controlplane.discovery.records import Records, ServiceRecord, answer
from controlplane.model.base import parse_as
from controlplane.model.discovered import MOST_FOUND
from controlplane.model.discovery import DnsSource


def allowed(host: str) -> None:
    """No host is refused."""


def source(kind: str = "A", **fields: object) -> DnsSource:
    return parse_as(DnsSource, {"name": "orders.example", "type": kind, **fields})


def told(found: Answer) -> list[tuple[str, str, int | None, int]]:
    return [(one.instance_id, one.host, one.port, one.weight) for one in found.instances or ()]


def test_addresses() -> None:
    found = answer(source(port=80), Records(["10.0.0.2", "10.0.0.1"], ttl=5), allowed)
    assert told(found) == [("10.0.0.1-80", "10.0.0.1", 80, 1), ("10.0.0.2-80", "10.0.0.2", 80, 1)]
    assert found.problem == ""


def test_an_ipv6_address_is_written_in_full_in_the_id() -> None:
    found = answer(source("AAAA", port=80), Records(["fd00::1"]), allowed)
    assert told(found) == [("fd00-0000-0000-0000-0000-0000-0000-0001-80", "fd00::1", 80, 1)]


def test_service_records_of_the_lowest_priority() -> None:
    records = [
        ServiceRecord(10, 60, 9001, "a.example"),
        ServiceRecord(10, 0, 9002, "b.example"),
        ServiceRecord(20, 100, 9003, "spare.example"),
    ]
    found = answer(source("SRV"), Records(services=records), allowed)
    assert told(found) == [
        ("a.example-9001", "a.example", 9001, 60),
        ("b.example-9002", "b.example", 9002, 1),
    ]


def test_great_weights_keep_their_proportion() -> None:
    records = [ServiceRecord(0, 60_000, 1, "a.example"), ServiceRecord(0, 15_000, 1, "b.example")]
    found = answer(source("SRV"), Records(services=records), allowed)
    assert [one[3] for one in told(found)] == [1000, 250]


@pytest.mark.parametrize(
    ("records", "problem"),
    [
        (Records(absent="orders.example does not exist"), "orders.example does not exist"),
        (Records(), "orders.example has no SRV records"),
        (Records(services=[ServiceRecord(0, 0, 0, "")]), "orders.example has no SRV records"),
    ],
)
def test_no_records_are_no_instances(records: Records, problem: str) -> None:
    assert answer(source("SRV"), records, allowed) == Answer((), problem)


def test_a_refused_address_is_left_out() -> None:
    def complaint(host: str) -> str | None:
        return f"{host} is a loopback address" if host.startswith("127.") else None

    found = answer(source(port=80), Records(["127.0.0.1", "10.0.0.1"]), complaint)
    assert [one[1] for one in told(found)] == ["10.0.0.1"]
    assert found.problem == "1 not used: 127.0.0.1 is a loopback address"


def test_a_host_that_cannot_be_an_instance_is_left_out() -> None:
    found = answer(source("SRV"), Records(services=[ServiceRecord(0, 0, 1, "a b")]), allowed)
    assert found == Answer((), "1 not used: 'a b' is no address of an instance")


def test_too_many_are_bounded() -> None:
    many = (
        Candidate(f"i{n}", f"10.{n // 65536}.{n // 256 % 256}.{n % 256}", 80) for n in range(MOST_FOUND + 7)
    )
    found = checked(many, allowed)
    assert len(found.instances or ()) == MOST_FOUND
    assert found.problem == f"only the first {MOST_FOUND} of {MOST_FOUND + 7} are used"


def test_a_long_name_is_shortened_to_a_digest_and_its_end() -> None:
    one, other = instance_id("a" + "x" * 80), instance_id("b" + "x" * 80)
    assert len(one) == len(other) == 63 and one != other


def test_lookups_follow_the_ttl_within_bounds() -> None:
    assert backoff.until_expiry(30, 0.0) == 30
    assert backoff.until_expiry(30, 1.0) == 33
    assert backoff.until_expiry(0, 0.0) == backoff.LEAST_TTL
    assert backoff.until_expiry(86_400, 0.0) == backoff.MOST_TTL


def test_pauses_grow_to_a_bound() -> None:
    assert [backoff.pause(failures, 1.0) for failures in (1, 2, 3)] == [0.5, 1.0, 2.0]
    assert backoff.pause(1000, 1.0) == backoff.LONGEST
    assert backoff.pause(1, 0.0) == 0.25
