"""HTTP/2 and gRPC's framing by hand: what is written, in which portions, and what is made of what comes back."""

from __future__ import annotations

import struct

import pytest

from controlplane.store.http2_call import DEFAULT_WINDOW, MOST_FRAME, PREFACE, WINDOW, Ended, Http2Call

DATA, HEADERS, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    0,
    1,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
)
ACK, END_STREAM, END_HEADERS, PADDED = 1, 1, 4, 8
Frame = tuple[int, int, int, bytes]


def frame(kind: int, payload: bytes = b"", flags: int = 0, stream: int = 1) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def frames(data: bytes) -> list[Frame]:
    found = []
    while data:
        size = int.from_bytes(data[:3], "big")
        found.append((data[3], data[4], int.from_bytes(data[5:9], "big"), data[9 : 9 + size]))
        data = data[9 + size :]
    return found


def message(text: bytes) -> bytes:
    return b"\0" + struct.pack(">I", len(text)) + text


def settings(**values: int) -> bytes:
    ids = {"window": 4, "most_frame": 5, "unknown": 99}
    return frame(
        SETTINGS, b"".join(struct.pack(">HI", ids[name], value) for name, value in values.items()), 0, 0
    )


def window(more: int, stream: int) -> bytes:
    return frame(WINDOW_UPDATE, struct.pack(">I", more), 0, stream)


def opened() -> Http2Call:
    """A call whose opening was written."""
    call = Http2Call("/a.Service/Method", "store:2379", False, [("token", "secret")])
    call.outgoing()
    return call


def sent(call: Http2Call) -> bytes:
    """What goes out on the stream."""
    return b"".join(payload for kind, _, _, payload in frames(call.outgoing()) if kind == DATA)


def test_it_opens_with_the_preface_settings_a_larger_window_and_the_header() -> None:
    call = Http2Call("/a.Service/Method", "store:2379", True, [("token", "x" * 300)])
    data = call.outgoing()
    assert data.startswith(PREFACE)
    first, second, third = frames(data.removeprefix(PREFACE))
    assert first[:3] == (SETTINGS, 0, 0)
    assert dict(struct.iter_unpack(">HI", first[3])) == {1: 0, 2: 0, 4: WINDOW}
    assert second == (WINDOW_UPDATE, 0, 0, struct.pack(">I", WINDOW - DEFAULT_WINDOW))
    assert third[:3] == (HEADERS, END_HEADERS, 1)
    assert fields(third[3]) == {
        ":method": "POST",
        ":scheme": "https",
        ":path": "/a.Service/Method",
        ":authority": "store:2379",
        "te": "trailers",
        "content-type": "application/grpc",
        "user-agent": "headgate",
        "token": "x" * 300,
    }
    assert call.outgoing() == b""


def fields(block: bytes) -> dict[str, str]:
    """Literals that are never indexed, as RFC 7541 has them."""
    found, at = {}, 0
    while at < len(block):
        assert block[at] == 0x10
        name, at = text(block, at + 1)
        value, at = text(block, at)
        found[name] = value
    return found


def text(block: bytes, at: int) -> tuple[str, int]:
    length, at = block[at], at + 1
    if length == 127:
        shift = 0
        while True:
            octet, at = block[at], at + 1
            length += (octet & 127) << shift
            shift += 7
            if octet < 128:
                break
    return block[at : at + length].decode(), at + length


def test_many_messages_go_out_in_one_frame() -> None:
    call = opened()
    call.send([b"one", b"", b"three"])
    assert frames(call.outgoing()) == [(DATA, 0, 1, message(b"one") + message(b"") + message(b"three"))]


def test_no_frame_is_larger_than_allowed() -> None:
    call = opened()
    call.send([b"x" * 40_000])
    sizes = [len(payload) for _, _, _, payload in frames(call.outgoing())]
    assert sizes == [MOST_FRAME, MOST_FRAME, 40_005 - 2 * MOST_FRAME]
    call.receive(settings(most_frame=20_000))
    call.outgoing()
    call.send([b"x" * 20_000])
    assert [len(payload) for _, _, _, payload in frames(call.outgoing())] == [20_000, 5]


@pytest.mark.parametrize("stream", [0, 1])
def test_what_a_window_has_no_room_for_waits_for_it(stream: int) -> None:
    call, whole = opened(), message(b"x" * 100_000)
    call.send([whole[5:]])
    first = sent(call)
    assert len(first) == DEFAULT_WINDOW
    call.receive(window(10, 1 - stream))
    assert sent(call) == b""
    call.receive(window(1_000_000, 1 - stream) + window(7, stream))
    second = sent(call)
    assert len(second) == 7
    call.receive(window(1_000_000, stream))
    assert first + second + sent(call) == whole


def test_the_window_of_the_stream_follows_the_settings() -> None:
    call = opened()
    call.receive(settings(window=10))
    assert frames(call.outgoing()) == [(SETTINGS, ACK, 0, b"")]
    call.send([b"x" * 20])
    assert len(sent(call)) == 10
    call.receive(settings(window=5))
    call.receive(window(5, 1))
    assert sent(call) == b""  # 5 too many were sent, by the new measure
    call.receive(window(3, 1))
    assert len(sent(call)) == 3
    call.receive(settings(window=100, unknown=7))
    assert len(sent(call)) == 12


def test_messages_come_in_any_portions() -> None:
    data = frame(HEADERS, b"\x88", END_HEADERS) + b"".join(
        frame(DATA, part)
        for part in (message(b"one") + message(b"tw")[:3], message(b"tw")[3:] + message(b""))
    )
    for size in (1, 2, 7, len(data)):
        call, found = opened(), []
        for first in range(0, len(data), size):
            found += call.receive(data[first : first + size])
        assert found == [b"one", b"tw", b""]


def test_padding_is_left_out() -> None:
    assert opened().receive(frame(DATA, b"\3" + message(b"one") + b"\0\0\0", PADDED)) == [b"one"]


def test_the_other_side_is_told_that_it_may_send_more() -> None:
    call, one = opened(), frame(DATA, message(b"x" * 10_000))
    taken = 0
    while not (out := call.outgoing()):
        taken += 10_005
        call.receive(one)
    assert taken >= WINDOW // 2
    assert frames(out) == [
        (WINDOW_UPDATE, 0, 0, struct.pack(">I", taken)),
        (WINDOW_UPDATE, 0, 1, struct.pack(">I", taken)),
    ]


def test_pings_are_answered_and_acknowledgements_are_not() -> None:
    call = opened()
    call.receive(
        frame(PING, b"12345678", 0, 0) + frame(PING, b"87654321", ACK, 0) + frame(SETTINGS, b"", ACK, 0)
    )
    assert frames(call.outgoing()) == [(PING, ACK, 0, b"12345678")]


def test_what_is_not_known_is_passed_over() -> None:
    call = opened()
    assert call.receive(frame(42, b"extension") + frame(DATA, message(b"one"))) == [b"one"]


@pytest.mark.parametrize(
    "data",
    [
        frame(HEADERS, b"trailers", END_HEADERS | END_STREAM),
        frame(DATA, b"", END_STREAM),
        frame(RST_STREAM, b"\0\0\0\0"),
        frame(GOAWAY, b"\0" * 8, 0, 0),
        frame(PUSH_PROMISE),
        frame(DATA, b"\xff", PADDED),
        frame(DATA, b"", PADDED),
        frame(SETTINGS, b"12345", 0, 0),
        settings(window=2**31),
        settings(most_frame=0),
        settings(most_frame=MOST_FRAME - 1),
        settings(most_frame=2**24),
        frame(PING, b"123456789", 0, 0),
        b"\xff\xff\xff\0\0\0\0\0\1",
        frame(DATA, b"\1" + struct.pack(">I", 1) + b"x"),
        frame(DATA, b"\0\xff\xff\xff\xff"),
        b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
    ],
)
def test_what_ends_the_stream(data: bytes) -> None:
    with pytest.raises(Ended):
        opened().receive(data)


def test_metadata_that_fits_no_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="bytes"):
        Http2Call("/", "store", False, [("token", "x" * MOST_FRAME)])
