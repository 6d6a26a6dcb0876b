"""Laws of taking ids out of Dagster's records."""

from __future__ import annotations

import json
import sqlite3

from humanllm_assets.lineage.removal.scrub import Mentions, scrub_folder

MENTIONS = Mentions(["reddit/älice", "reddit:t3_ab"])


def test_whole_ids_go_and_longer_ones_stay():
    text = "reddit/älice#persona, reddit/älice2, social_qa-reddit:reddit:t3_ab#qa1, reddit:t3_abc, reddit/älice-x"
    assert (
        MENTIONS.scrub(text)
        == "[forgotten]#persona, reddit/älice2, social_qa-reddit:[forgotten]#qa1, reddit:t3_abc, reddit/älice-x"
    )


def test_the_value_beside_an_id_goes_too_and_other_rows_stay():
    rows = [{"id": "reddit:t3_ab#qa1", "value": "her words"}, {"id": "reddit:t3_abc", "value": "his words"}]
    scrubbed = json.loads(MENTIONS.scrub(json.dumps({"records": rows})))
    assert scrubbed["records"] == [{"id": "[forgotten]", "value": "[forgotten]"}, rows[1]]


def test_databases_and_logs_hold_nothing_afterwards(tmp_path):
    db = sqlite3.connect(tmp_path / "runs.db", isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("CREATE TABLE events (id INTEGER PRIMARY KEY, event TEXT)")
    row = {"id": "reddit/älice#persona", "value": "her words"}
    db.executemany("INSERT INTO events (event) VALUES (?)", [(json.dumps(row),), ("reddit/bob",)])
    db.close()
    (tmp_path / "compute.err").write_text("failed: reddit:t3_ab\nfailed: reddit/bob\n")
    assert scrub_folder(tmp_path, MENTIONS) == 2
    raw = b"".join(p.read_bytes() for p in tmp_path.iterdir())
    assert b"lice" not in raw and b"her words" not in raw and b"t3_ab" not in raw
    assert (tmp_path / "compute.err").read_text() == "failed: [forgotten]\nfailed: reddit/bob\n"
    with sqlite3.connect(tmp_path / "runs.db") as after:
        assert [r[0] for r in after.execute("SELECT event FROM events")][1] == "reddit/bob"
    assert scrub_folder(tmp_path, MENTIONS) == 0
