"""`humanllm ui`: Dagster's webserver and daemon on loopback, and the server of the checks' pages."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from humanllm_assets.contracts.docs_server import URL_VARIABLE
from humanllm_assets.orchestration.instance import open_instance
from resources.errors import Explained
from resources.locks import hold_lock
from resources.processes import die_with_parent
from resources.profile import PROJECT_ROOT

if TYPE_CHECKING:
    from resources.home import Home


class PortInUse(Explained):
    """Something listens on the port already."""


def serve_ui(home: Home, port: int, echo: Callable[[str], None]) -> None:
    """Become `dagster dev` on loopback, with the lock of the home's UI; returns only by raising.

    Raises:
        Locked: the home has a UI already; the message has its address.
        PortInUse: with the command that takes another port.
    """
    with hold_lock(home.ui_lock, f"the UI at http://127.0.0.1:{port}", keep=True):
        _become_ui(home, port, echo)


def _become_ui(home: Home, port: int, echo: Callable[[str], None]) -> None:
    with socket.socket() as s:
        if s.connect_ex(("127.0.0.1", port)) == 0:
            raise PortInUse(f"port {port} is in use; stop what listens there or choose another: humanllm ui --port {port + 1}")
    with open_instance(home, echo):
        pass  # what killed processes left is freed, and DAGSTER_HOME is set
    os.chdir(PROJECT_ROOT)
    if not os.environ.get(URL_VARIABLE):
        docs = [sys.executable, "-m", "humanllm_assets.contracts.docs_server", "--folder", str(home.data_docs)]
        subprocess.Popen(docs, preexec_fn=die_with_parent)
    echo(f"Dagster opens at http://127.0.0.1:{port} in some 20 s (Ctrl-C stops it)")
    command = [sys.executable, "-m", "dagster", "dev", "-w", "workspace.yaml", "-h", "127.0.0.1", "-p", str(port)]
    # A script's background jobs ignore SIGINT, and `dagster dev` could then not be stopped.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.execv(sys.executable, command)
