"""Frames of Feishu's long connection: the protobuf message `pbbp2.Frame`, written and read by hand.

1 SeqID · 2 LogID · 3 service · 4 method (0 control, 1 data) · 5 headers {1 key, 2 value} · 6 payload_encoding ·
7 payload_type · 8 payload · 9 LogIDNew          (lark_oapi/ws/pb/pbbp2.proto)
"""

from dataclasses import dataclass, field

from integrations.errors import InvalidInput

CONTROL, DATA = 0, 1
MAX_HEADERS = 100
_NUMBERS = {1: "seq_id", 2: "log_id", 3: "service", 4: "method"}
_TEXTS = {6: "encoding", 7: "kind", 9: "log_id_new"}


@dataclass(slots=True)
class Frame:
    """One frame; an acknowledgement is the frame itself with another payload."""

    method: int = CONTROL
    service: int = 0
    seq_id: int = 0
    log_id: int = 0
    headers: dict[str, str] = field(default_factory=dict[str, str])
    encoding: str = ""
    kind: str = ""
    payload: bytes = b""
    log_id_new: str = ""


def encode(frame: Frame) -> bytes:
    """Return the bytes of a frame."""
    out = bytearray()
    for number, name in _NUMBERS.items():
        out += _varint(number << 3) + _varint(getattr(frame, name))
    for key, value in frame.headers.items():
        out += _block(5, _block(1, key.encode()) + _block(2, value.encode()))
    for number, name in ((6, "encoding"), (7, "kind")):
        if text := getattr(frame, name):
            out += _block(number, text.encode())
    out += _block(8, frame.payload) if frame.payload else b""
    out += _block(9, frame.log_id_new.encode()) if frame.log_id_new else b""
    return bytes(out)


def decode(data: bytes) -> Frame:
    """Return the frame in some bytes; raise InvalidInput where there is none."""
    frame = Frame()
    try:
        for number, value in _fields(data):
            if isinstance(value, int):
                if number in _NUMBERS:
                    setattr(frame, _NUMBERS[number], value)
            elif number == 5 and len(frame.headers) < MAX_HEADERS:
                pair = dict(_fields(value))
                frame.headers[_text(pair.get(1, b""))] = _text(pair.get(2, b""))
            elif number == 8:
                frame.payload = value
            elif number in _TEXTS:
                setattr(frame, _TEXTS[number], _text(value))
    except (IndexError, UnicodeDecodeError) as error:
        raise InvalidInput("This is no frame of Feishu.") from error
    return frame


def _fields(data: bytes) -> list[tuple[int, int | bytes]]:
    found, at = list[tuple[int, int | bytes]](), 0
    while at < len(data):
        tag, at = _read(data, at)
        if tag & 7 == 0:
            value, at = _read(data, at)
            found.append((tag >> 3, value))
        elif tag & 7 == 2:
            length, at = _read(data, at)
            if at + length > len(data):
                raise IndexError
            found.append((tag >> 3, data[at : at + length]))
            at += length
        else:
            raise IndexError
    return found


def _read(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise IndexError


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _block(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _text(value: int | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
