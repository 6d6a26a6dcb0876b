"""The lists of journal answers that manifests name by hash."""

from __future__ import annotations

import hashlib
import random

from humanllm_assets.lineage.answers import answers_file, keep_answers, read_answers


def test_a_list_holds_every_answer_once_whatever_the_order_in_which_they_were_used(tmp_path):
    draw = random.Random(1)
    used = [(draw.randbytes(32), draw.randbytes(32)) for _ in range(5)]
    entries = b"".join(key + digest for key, digest in used)
    name = keep_answers(tmp_path, entries)
    again = b"".join(key + digest for key, digest in [*used[::-1], used[2], used[2]])
    assert keep_answers(tmp_path, again) == name != keep_answers(tmp_path, entries[64:])
    content = answers_file(tmp_path, name).read_bytes()
    assert hashlib.sha256(content).hexdigest() == name
    assert list(read_answers(content)) == [(key.hex(), digest) for key, digest in sorted(used)]
    assert keep_answers(tmp_path, b"") == ""


def test_a_list_that_is_there_is_not_written_again(tmp_path):
    entries = bytes(64)
    file = answers_file(tmp_path, keep_answers(tmp_path, entries))
    before = file.stat().st_mtime_ns, file.stat().st_ino
    keep_answers(tmp_path, entries)
    assert (file.stat().st_mtime_ns, file.stat().st_ino) == before
