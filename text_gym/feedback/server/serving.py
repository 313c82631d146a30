"""Serving a study: who may reach the server, what is printed, and how it ends.

Knows no page: see `app`.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn

from text_gym.feedback.access import Access
from text_gym.feedback.owner import serving
from text_gym.feedback.server.app import make_app
from text_gym.feedback.server.hosts import LOOPBACK
from text_gym.feedback.study import open_study
from text_gym.quoting import quoted

_MOST_CONNECTIONS = 500

TLS = """\
People's answers and links would travel unprotected. Put TLS before the server, for example Caddy:
    caddy reverse-proxy --from feedback.example.org --to 127.0.0.1:{port}
and let the server itself listen on 127.0.0.1, with --public-url https://feedback.example.org"""


@dataclass(frozen=True)
class Place:
    """Holds where a study is served."""

    host: str = "127.0.0.1"
    port: int = 8000
    public_url: str = ""
    """Under which people reach the server, if something stands before it."""
    links_only: bool = False
    """On this machine, too, a link is needed to take part."""

    def __post_init__(self) -> None:
        """Checks the address.

        Raises:
            ValueError: If it is none.
        """
        parts = urlsplit(self.public_url)
        if self.public_url and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise ValueError(f"public_url must be an address, got {quoted(self.public_url)}")

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the server."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def is_open(self) -> bool:
        """Whether whoever reaches the server may take part without a link."""
        return self.is_local and not self.public_url and not self.links_only

    @property
    def address(self) -> str:
        """Under which people reach the server."""
        shown = f"[{self.host}]" if ":" in self.host else self.host
        return self.public_url.rstrip("/") or f"http://{shown}:{self.port}"

    @property
    def hosts(self) -> Collection[str]:
        """The names by which the server may be called, without ports."""
        name = urlsplit(self.address).hostname or ""
        named = {f"[{name}]" if ":" in name else name}
        return named | set(LOOPBACK) if self.is_local else named


def serve(folder: Path, place: Place, say: Callable[[str], object]) -> None:
    """Serves a study until a signal comes.

    Args:
        folder: Of the study.
        place: Where.
        say: Is told how to come in, before the first page is served.

    Raises:
        StudyInUse: If it is served already.
        OSError: If the port is taken.
    """
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    study = open_study(folder)
    with serving(folder, place.address), _listening(place) as listener, study.open() as store:
        access = Access(store)
        for line in _how_to_come_in(place, access, study.config.crowd):
            say(line)
        app = make_app(
            study, store, is_open=place.is_open, address=place.address, hosts=place.hosts
        )
        config = uvicorn.Config(
            app,
            access_log=False,  # addresses hold secrets
            server_header=False,
            date_header=False,
            lifespan="off",
            log_level="warning",
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_graceful_shutdown=5,
            forwarded_allow_ips="127.0.0.1" if place.public_url else "",
        )
        uvicorn.Server(config).run(sockets=[listener])


def _listening(place: Place) -> socket.socket:
    """Returns a socket on which the server listens already: the first request is not refused."""
    family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((place.host, place.port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise OSError(
            f"host and port must be free to listen on, got {place.host} and {place.port}: "
            f"{error.strerror}"
        ) from error
    return listener


def _how_to_come_in(place: Place, access: Access, crowd: bool) -> list[str]:
    lines = (
        []
        if place.is_local or place.public_url.startswith("https:")
        else [TLS.format(port=place.port)]
    )
    if place.is_open:
        lines.append(f"Judge:        {place.address}/")
    else:
        lines.append("Judge:        by a link of one's own: text-gym-feedback link STUDY NAME")
    if crowd:
        lines.append(f"Crowd:        {place.address}/crowd/{access.crowd_link()}")
    lines += [
        f"Researcher:   {place.address}/admin",
        f"Admin token:  {access.admin_token()}",
        "Ctrl-C ends the server; every answer that was acknowledged is kept.",
    ]
    return lines
