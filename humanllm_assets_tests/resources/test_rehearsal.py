"""Laws of the asker without servers."""

from __future__ import annotations

import threading
from pathlib import Path

from humanllm_assets_tests.resources.engine_helpers import ask, make_engine, make_profile, make_requests, make_role
from resources.home import Home
from resources.llm.dummy_server import DummyServer
from resources.llm.rehearsal import NOT_ASKED, Rehearsal


def test_known_answers_are_replied_and_the_others_counted_without_thread_server_or_file(tmp_path: Path) -> None:
    with DummyServer() as server:
        with make_engine(tmp_path, [server.base_url]) as engine:
            first = ask(engine, make_requests(3))
        asked, threads, files = server.requests, threading.enumerate(), sorted(tmp_path.rglob("*"))
        with Rehearsal(make_profile([server.base_url]), Home(tmp_path)) as rehearsal:
            replies = [*rehearsal.ask(make_role(), make_requests(5), label="test", log=print)]
            assert {r.key: r.value for r in replies if r.value} == {key: r.value for key, r in first.items()}
            assert [r.key for r in replies if r.reason == NOT_ASKED] == ["item3", "item4"]
            [*rehearsal.ask(make_role(), make_requests(5), label="again", log=print)]
            assert [(a.known, a.missing) for a in rehearsal.asked] == [(3, 2), (5, 0)]
            assert rehearsal.count_tokens("m", ["one two", "three"]) == [2, 1] and rehearsal.guesses == 0
            assert threading.enumerate() == threads
        assert server.requests == asked and sorted(tmp_path.rglob("*")) == files
