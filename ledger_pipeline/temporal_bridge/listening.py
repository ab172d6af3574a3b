"""Where the worker listens: host:port of a setting becomes an address or a socket, or one line naming the setting."""

import socket

from ledger_pipeline.core.errors import SettingsError


def resolved(setting: str, address: str) -> str:
    """`address`, host:port, with the host as a number, as the Temporal core wants it; IPv6 in brackets.

    Raises SettingsError naming `setting` where the host is unknown or there is no such port.
    """
    family, host, port = _lookup(setting, address)
    return f"[{host}]:{port}" if family == socket.AF_INET6 else f"{host}:{port}"


def listen(setting: str, address: str) -> socket.socket:
    """A socket that listens at `address`, host:port. The caller closes it.

    Raises SettingsError naming `setting` where the address is taken, not of this machine, or no address at all.
    """
    family, host, port = _lookup(setting, address)
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise cannot_listen(setting, address, error.strerror or str(error)) from error


def cannot_listen(setting: str, address: str, problem: str) -> SettingsError:
    """The error for an address of ours that cannot be listened at."""
    return SettingsError(f"{setting} is {address}, where the worker cannot listen: {problem}")


def _lookup(setting: str, address: str) -> tuple[int, str, int]:
    host, _, port = address.rpartition(":")
    try:
        if int(port) > 65535:  # the lookup would take it modulo 65536
            raise cannot_listen(setting, address, "ports end at 65535")
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise cannot_listen(setting, address, error.strerror or str(error)) from error
    family, _, _, _, place = found[0]
    return family, str(place[0]), int(port)
