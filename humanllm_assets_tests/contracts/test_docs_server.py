"""Laws of the Data Docs server."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from humanllm_assets.contracts.docs_server import URL_VARIABLE, main, make_server, page_url


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    folder = tmp_path / "docs"
    folder.mkdir()
    (tmp_path / "secret.html").write_text("secret")
    with make_server(folder, 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as response:
        return response.read().decode()


def test_the_index_lists_pages_that_a_link_opens(served: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, base = served
    assert "No contract has run yet" in get(base)
    (folder / "raw" / "a b").mkdir(parents=True)
    (folder / "raw" / "a b" / "measures.html").write_text("page")
    assert 'href="raw/a%20b/measures.html"' in get(f"{base}/index.html")
    monkeypatch.setenv(URL_VARIABLE, f"{base}/")
    assert get(page_url("raw/a b/measures.html")) == "page"


def test_links_lead_to_the_server_that_the_ui_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(URL_VARIABLE, raising=False)
    assert page_url("raw/measures.html") == "http://127.0.0.1:3070/raw/measures.html"


def test_a_port_in_use_is_one_sentence(served: tuple[Path, str]) -> None:
    folder, base = served
    with pytest.raises(SystemExit, match="is in use; stop what listens there"):
        main(["--folder", str(folder), "--port", base.rpartition(":")[2]])


def test_only_the_folder_is_served_and_only_on_loopback(served: tuple[Path, str]) -> None:
    _, base = served
    with pytest.raises(urllib.error.HTTPError):
        get(f"{base}/../secret.html")
    with make_server(served[0], 0) as other:
        assert other.server_address[0] == "127.0.0.1"


def test_a_link_in_the_folder_serves_nothing_outside_it(served: tuple[Path, str]) -> None:
    folder, base = served
    (folder / "inside.html").write_text("page")
    (folder / "same.html").symlink_to(folder / "inside.html")
    (folder / "out.html").symlink_to(folder.parent / "secret.html")
    (folder / "up").symlink_to(folder.parent)
    assert get(f"{base}/same.html") == "page"
    for page in ("out.html", "up/secret.html", "up/"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            get(f"{base}/{page}")


@pytest.mark.parametrize("host", ["attacker.example", "attacker.example:3070", "127.0.0.1.attacker.example", ""])
def test_a_name_that_somebody_else_gave_this_server_is_refused(served: tuple[Path, str], host: str) -> None:
    request = urllib.request.Request(served[1], headers={"Host": host})
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(request, timeout=5)


def test_the_name_that_the_user_gave_it_is_served(served: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(URL_VARIABLE, "https://pages.example/docs")
    request = urllib.request.Request(served[1], headers={"Host": "pages.example"})
    with urllib.request.urlopen(request, timeout=5) as response:
        assert response.status == 200
