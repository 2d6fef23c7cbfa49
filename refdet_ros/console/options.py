"""The console's options, and the limits for browsers."""

from __future__ import annotations

import ipaddress
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from refdet_core.errors import ConfigError

DEFAULT_PORT = 8080


def default_folder() -> Path:
    """The default folder for recordings."""
    return Path(os.environ.get("XDG_DATA_HOME", "~/.local/share")).expanduser() / "refdet"


@dataclass(frozen=True)
class Limits:
    """Limits for one browser, or for all of them together.

    Attributes:
        browsers: connected at the same time.
        message_bytes: of one command.
        commands_per_s: of one browser, on average.
        upload_bytes, upload_pixels: of one photo.
        uploads: photos kept for a browser until they are used.
        failed_logins_per_min: of one address, before it has to wait.
        free_disk_bytes: a recording ends when less is left.
    """

    browsers: int = 16
    message_bytes: int = 64 * 1024
    commands_per_s: float = 30.0
    upload_bytes: int = 16 * 1024 * 1024
    upload_pixels: int = 50_000_000
    uploads: int = 10
    failed_logins_per_min: int = 10
    free_disk_bytes: int = 500 * 1024 * 1024


@dataclass(frozen=True)
class ConsoleOptions:
    """The console's options.

    Attributes:
        address: to listen on.
        token: what a browser must show; None lets everyone in who reaches the address.
        certificate, key: PEM files for TLS.
        client_ca: PEM file; only browsers with a certificate of this authority get in.
        recordings: folder of bags that are recorded and played.
        picture_hz: pictures per second and browser, at most.

    Raises:
        ConfigError: the settings do not fit together, or would let in strangers.
    """

    address: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    token: Optional[str] = None
    certificate: Optional[Path] = None
    key: Optional[Path] = None
    client_ca: Optional[Path] = None
    recordings: Path = field(default_factory=default_folder)
    picture_hz: float = 15.0
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"The port must be within 0 and 65535, got {self.port}.")
        if not 0.5 <= self.picture_hz <= 60:
            raise ConfigError(f"The picture rate must be 0.5 to 60 Hz, got {self.picture_hz:g}.")
        if self.key is not None and self.certificate is None:
            raise ConfigError("A key needs its certificate: give --certificate as well.")
        if self.client_ca is not None and self.certificate is None:
            raise ConfigError("Client certificates need TLS: give --certificate and --key as well.")
        for file in (self.certificate, self.key, self.client_ca):
            if file is not None and not file.is_file():
                raise ConfigError(f"'{file}' is not a file; give the path of a PEM file.")
        if self.token is None and not self.is_local and self.client_ca is None:
            raise ConfigError(
                f"On {self.address} the console needs a token, or client certificates "
                "(--client-ca); without either anyone on the network could set targets."
            )

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the address."""
        return is_loopback(self.address)

    def url(self, port: int) -> str:
        """The address to open in the browser, with the token."""
        host = self.address
        if host in ("0.0.0.0", "::"):
            host = _own_address()
        if ":" in host:
            host = f"[{host}]"
        scheme = "https" if self.certificate is not None else "http"
        return f"{scheme}://{host}:{port}/" + (f"?token={self.token}" if self.token else "")


def new_token() -> str:
    """128 random bits, as they go into a URL."""
    return secrets.token_urlsafe(16)


def is_loopback(host: str) -> bool:
    """Whether a host name or address is a loopback address."""
    if host.rstrip(".").lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _own_address() -> str:
    """The address at which other machines most likely reach this one."""
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Nothing is sent: this only asks which interface would be used.
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"
