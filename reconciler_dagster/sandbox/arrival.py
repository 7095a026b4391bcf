"""When a request arrived at this machine, however late a busy server reads it."""

import socket
import struct
import time

# The head of `struct tcp_info` (linux/tcp.h), up to the field that is read.
_LAYOUT = struct.Struct("=8x12I")
_LAST_DATA_RECEIVED = 11
_MILLISECOND = 0.001


def arrived(connection: socket.socket | None) -> float:
    """Return when the last data of a connection came in (`time.monotonic`); where the system does
    not tell, now.
    """
    now = time.monotonic()
    option = getattr(socket, "TCP_INFO", None)
    if connection is None or option is None:
        return now
    try:
        raw = connection.getsockopt(socket.IPPROTO_TCP, option, _LAYOUT.size)
        ago: int = _LAYOUT.unpack(raw)[_LAST_DATA_RECEIVED]
    except (OSError, struct.error):  # another system's form of it, or no TCP at all
        return now
    return now - ago * _MILLISECOND
