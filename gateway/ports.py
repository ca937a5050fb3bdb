"""Whether a TCP port is free, and who has it when it is not."""

import contextlib
import errno
import socket

import psutil

from gateway.cli_errors import CommandError


def require_free(host: str, port: int, flag: str) -> None:
    """Check that a service will be able to listen.

    Raises:
        CommandError: the port is taken or not ours to take; names its owner where the system tells.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # Servers set this too: without it a port would look taken for a minute after a restart.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            raise CommandError(_explain(error, host, port), f"choose another one with {flag}") from error


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def owner(port: int) -> psutil.Process | None:
    """The process that listens on a port, None where the system does not say."""
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.pid and connection.laddr[1:] == (port,):
                return psutil.Process(connection.pid)
    return None


def _explain(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} is taken{_by(owner(port))}"
    if error.errno == errno.EACCES:
        return f"Port {port} may only be opened by root"
    return f"{host}:{port} cannot be listened on: {error.strerror}"


def _by(process: psutil.Process | None) -> str:
    if process is None:
        return " by another program"
    with contextlib.suppress(psutil.Error):
        return f" by process {process.pid} ({' '.join(process.cmdline())[:60] or process.name()})"
    return f" by process {process.pid}"
