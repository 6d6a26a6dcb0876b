"""HTTP connections to model servers: addresses, keys, and what of both may be shown; aiohttp is loaded at the first connection.

What belongs here: where a server is and how it is addressed. What does not: when it is asked (`transport.py`, `counting.py`).
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from resources.errors import EngineError
from resources.profile import Model

if TYPE_CHECKING:
    import aiohttp

HIDDEN = "***"
_CHAT = "/chat/completions"
_USER = re.compile(r"(?<=//)[^/?#]*@")
_QUERY = re.compile(r"(?<==)[^&#]+")


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


def chat_address(url: str) -> str:
    """Where chat requests go. url: a server without a path (its API is below `/v1`), the base of an API as its documentation
    prints it (`…/v1`, `…/v1beta/openai`), or the whole address, each with or without a query."""
    address, mark, query = url.partition("?")
    address = address.rstrip("/")
    if not address.endswith(_CHAT):
        address += ("/v1" if not urlsplit(address).path else "") + _CHAT
    return address + mark + query


def tokenize_address(url: str) -> str:
    """Where texts are counted: beside the API of the same server."""
    address, mark, query = chat_address(url).partition("?")
    return address.removesuffix(_CHAT).removesuffix("/v1") + "/tokenize" + mark + query


def hide_secrets(address: str) -> str:
    """An address as it may be shown: without user, password and the values of its query."""
    address, mark, query = address.partition("?")
    return _USER.sub(f"{HIDDEN}@", address) + mark + _QUERY.sub(HIDDEN, query)


class Access(NamedTuple):
    """What a model's servers are told to let us in, and all that no message, log or file may show."""

    headers: dict[str, str]
    secrets: tuple[str, ...]

    def hide(self, text: str) -> str:
        """A text without the secrets; servers repeat keys in their errors."""
        for secret in self.secrets:
            text = text.replace(secret, HIDDEN)
        return text


def read_access(model: Model) -> Access:
    """The model's key and whatever of its addresses is secret.

    Raises:
        EngineError: the variable that shall hold the key is not set.
    """
    headers, secrets = {}, set[str]()
    if model.api_key_env:
        key = os.environ.get(model.api_key_env, "").strip()
        if not key:
            raise EngineError(
                f"the key of the model `{model.name}` is missing: the environment variable {model.api_key_env} is not set; "
                f"export {model.api_key_env}=... and run the step again"
            )
        headers["Authorization"] = f"Bearer {key}"
        secrets.add(key)
    for url in model.endpoints:
        parts = urlsplit(url)
        user = parts.netloc.rpartition("@")[0]
        secrets |= {user, unquote(user), unquote(parts.password or ""), parts.password or ""}
        secrets |= {value for _, value in parse_qsl(parts.query)}
        secrets |= {value.partition("=")[2] for value in parts.query.split("&")}
    return Access(headers, tuple(sorted((s for s in secrets if len(s) > 3), key=len, reverse=True)))
