"""Hashes of files are kept for all processes of a home, and none waits while another reads a large file."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

from resources.files import FileHashes


def test_nobody_waits_while_a_large_file_is_read(tmp_path: Path) -> None:
    for name in ("first", "other"):
        (tmp_path / name).write_text(name)
    os.mkfifo(tmp_path / "endless")  # a file that is read for as long as the test likes
    first, endless, other = tmp_path / "first", tmp_path / "endless", tmp_path / "other"
    got: dict[str, list[str]] = {}

    def read(name: str, *paths: Path) -> threading.Thread:
        thread = threading.Thread(target=lambda: got.update({name: FileHashes(tmp_path).sha256(paths)}), daemon=True)
        thread.start()
        return thread

    slow = read("slow", first, endless)
    with endless.open("w") as f:  # opens once the reader has come to it
        f.write("the end")
        read("quick", other).join(5)
        assert "quick" in got, "another process waits until the large file is read"
    slow.join(5)
    assert got["slow"] == [hashlib.sha256(b"first").hexdigest(), hashlib.sha256(b"the end").hexdigest()]
