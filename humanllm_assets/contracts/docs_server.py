"""Serves the Data Docs pages on loopback, because browsers refuse file links and the Dagster webserver serves no files.

    python -m humanllm_assets.contracts.docs_server --folder <docs folder> --port 3070

`humanllm ui` starts it beside Dagster, at the address to which checks link; HUMANLLM_DOCS_URL names another one.

The index, newest page first, is made at every request: steps that write pages at the same time share no file.
"""

import argparse
import html
import os
from datetime import datetime
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, urlsplit

URL_VARIABLE = "HUMANLLM_DOCS_URL"
PORT = 3070
_NEWEST = 500  # pages listed in the index


def page_url(page: str) -> str:
    """The URL of a page (relative to the docs folder) on the server that HUMANLLM_DOCS_URL names, or on this machine's."""
    base = os.environ.get(URL_VARIABLE) or f"http://127.0.0.1:{PORT}"
    return f"{base.rstrip('/')}/{quote(page)}"


def index_html(folder: Path) -> str:
    """The list of the newest pages under the docs folder, with the time of writing (local)."""
    pages = sorted(((p.stat().st_mtime, p) for p in folder.rglob("*.html")), reverse=True)
    rows = []
    for written, page in pages[:_NEWEST]:
        name = page.relative_to(folder).as_posix()
        link = f'<a href="{quote(name)}">{html.escape(name.removesuffix(".html"))}</a>'
        rows.append(f"<tr><td>{datetime.fromtimestamp(written):%Y-%m-%d %H:%M:%S}</td><td>{link}</td></tr>")
    more = f"<p>{len(pages) - _NEWEST} older pages are not listed.</p>" if len(pages) > _NEWEST else ""
    body = f"<table>{''.join(rows)}</table>{more}" if rows else "<p>No contract has run yet.</p>"
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Data Docs</title>'
        "<style>body{font:14px system-ui,sans-serif;margin:24px auto;max-width:1000px}td{padding:3px 12px 3px 0}</style>"
        f"</head><body><h1>Data Docs</h1>{body}</body></html>"
    )


def _is_ours(host: str) -> bool:
    """Whether a Host header names this server: a page elsewhere could give itself a name that leads here, and read along."""
    named = urlsplit(os.environ.get(URL_VARIABLE, "")).hostname
    return (urlsplit(f"//{host}").hostname or "?") in {"127.0.0.1", "localhost", "::1", named}


class _Handler(SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        if not _is_ours(self.headers.get("Host", "")):
            self.send_error(403, f"open this page under its own address, or name it in {URL_VARIABLE}")
            return
        if self.path.partition("?")[0] not in ("/", "/index.html"):
            super().do_GET()
            return
        content = index_html(Path(self.directory)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def translate_path(self, path: str) -> str:
        """The file behind an address; one that is not there for a link that leads out of the folder."""
        found = Path(super().translate_path(path))
        return str(found) if found.resolve().is_relative_to(Path(self.directory).resolve()) else os.devnull + "/outside"

    def log_message(self, format: str, *args: object) -> None:
        """Silent: a page view is no event of the pipeline."""


def make_server(folder: Path, port: int) -> ThreadingHTTPServer:
    """A server of the folder on 127.0.0.1, not yet serving; port 0 takes a free one.

    Raises:
        OSError: the port is in use.
    """
    return ThreadingHTTPServer(("127.0.0.1", port), partial(_Handler, directory=str(folder)))


def main(argv: list[str] | None = None) -> None:
    """Serve the pages until interrupted; a port that is in use ends the process with one sentence."""
    parser = argparse.ArgumentParser(description="Serve the Data Docs pages on 127.0.0.1.")
    parser.add_argument(
        "--folder", type=Path, required=True, help="folder of the Data Docs pages; created when it does not exist"
    )
    parser.add_argument("--port", type=int, default=PORT, help="0 takes a free port")
    options = parser.parse_args(argv)
    options.folder.mkdir(parents=True, exist_ok=True)
    try:
        server = make_server(options.folder, options.port)
    except OSError as e:
        raise SystemExit(
            f"the checks' pages are not served, because port {options.port} is in use; stop what listens there, or serve them elsewhere: "
            f"python -m humanllm_assets.contracts.docs_server --folder {options.folder} --port {options.port + 1}, "
            f"and start Dagster with {URL_VARIABLE}=http://127.0.0.1:{options.port + 1}"
        ) from e
    with server:
        print(f"The checks' pages: http://127.0.0.1:{server.server_port}", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("stopped")


if __name__ == "__main__":
    main()
