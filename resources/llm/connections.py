"""HTTP connections to model servers; aiohttp is loaded at the first one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import aiohttp


def open_session(timeout_s: float) -> aiohttp.ClientSession:
    """A session that sends JSON to any number of servers at once; call it inside an event loop, and close it.

    Args:
        timeout_s: of a whole request. Only the time to connect is short: a request may wait in a server's queue for long.
    """
    import aiohttp

    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=timeout_s, sock_connect=30),
        connector=aiohttp.TCPConnector(limit=0, force_close=False),
        headers={"Content-Type": "application/json"},
    )


def server_address(url: str) -> str:
    """An endpoint's address without the `/v1` that people like to add."""
    return url.rstrip("/").removesuffix("/v1")
