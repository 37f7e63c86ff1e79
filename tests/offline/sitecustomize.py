"""Takes the network away from every Python process that tests start: only this machine answers.

conftest.py puts this folder on PYTHONPATH, so that interpreters import it as they start. What is
blocked fails as it does on a machine without a network. pip alone may fetch: the wheels of others
that some tests look into, which are kept, and without which those tests are skipped.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import sys
from typing import Any

_MESSAGE = "the network is blocked in tests"


def is_here(host: object) -> bool:
    """Whether a host's name or address is this machine's own."""
    if not host or host in ("localhost", "0.0.0.0", "::", socket.gethostname()):
        return True
    try:
        return ipaddress.ip_address(str(host)).is_loopback
    except ValueError:
        return False


def _is_address(host: object) -> bool:
    try:
        ipaddress.ip_address(host.decode() if isinstance(host, bytes) else str(host))
    except ValueError:
        return False
    return True


def _guard(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect":
        connection, address = arguments
        # Datagrams' connections send nothing; they are how programs ask for their own address.
        is_stream = connection.type & 0xF == socket.SOCK_STREAM
        if is_stream and isinstance(address, tuple) and not is_here(address[0]):
            raise OSError(errno.ENETUNREACH, _MESSAGE)
    elif event == "socket.getaddrinfo":
        host = arguments[0]
        if not (_is_address(host) or is_here(host)):
            raise socket.gaierror(socket.EAI_AGAIN, _MESSAGE)


def block() -> None:
    """Block it in this process, for good."""
    sys.addaudithook(_guard)


if "pip" not in sys.orig_argv[:4]:
    block()
