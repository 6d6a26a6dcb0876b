"""Laws of which replica is asked: whose prefix cache knows the person, unless it is busy, slow or failing."""

from __future__ import annotations

from pathlib import Path

from humanllm_assets_tests.resources.engine_helpers import ask, make_engine, make_profile, make_requests
from resources.llm.connections import read_access
from resources.llm.dummy_server import DummyServer
from resources.llm.transport import Endpoint, Pool, Throttle


def make_pool(count: int) -> Pool:
    model = make_profile(["http://h"]).models["m"]
    return Pool(model, read_access(model), [Endpoint(f"http://h{i}", f"h{i}") for i in range(count)], Throttle(64))


def send(pool: Pool, now: float, subject: str = "") -> Endpoint:
    endpoint = pool.pick(now, subject=subject)
    assert endpoint
    endpoint.under_way[object()] = endpoint.used = now
    return endpoint


def test_questions_about_one_person_go_to_one_replica_until_it_has_more_than_its_share() -> None:
    pool = make_pool(3)
    homes = {user: send(pool, 1.0, user).url for user in map(str, range(9))}
    assert len({*homes.values()}) > 1
    for endpoint in pool.endpoints:
        endpoint.under_way.clear()
    assert {user: send(pool, 2.0, user).url for user in homes} == homes
    for _ in range(51):
        send(pool, 3.0, "one")
    assert sorted(e.in_flight for e in pool.endpoints) == [17, 18, 25], "one has a quarter more than its share"
    home = max(pool.endpoints, key=lambda e: e.in_flight)
    home.resting_until = 9.0
    assert len({send(pool, 4.0, "one").url for _ in range(2)} - {home.url}) == 1, "and another home where that one fails"


def test_a_slow_replica_has_few_in_flight_and_is_tried_again_later() -> None:
    pool = make_pool(2)
    quick, slow = pool.endpoints
    quick.note_seconds(1.0)
    slow.note_seconds(10.0)
    quick.used = slow.used = 100.0
    for i in range(55):
        send(pool, 100.0, f"user{i}")
    assert slow.in_flight <= 7, "its share by speed is 5"
    for endpoint in pool.endpoints:
        endpoint.under_way.clear()
    assert {send(pool, 200.0).url for _ in range(2)} == {quick.url, slow.url}


def test_a_replica_that_has_begun_to_hang_gets_few_more() -> None:
    pool = make_pool(2)
    for endpoint in pool.endpoints:
        endpoint.note_seconds(1.0)
        endpoint.used = 10.0
    hanging, working = pool.endpoints
    hanging.under_way = {object(): 10.0 for _ in range(4)}
    assert all(send(pool, 100.0, f"user{i}") is working for i in range(30))
    assert hanging.in_flight == 4


def test_replicas_of_all_speeds_give_the_answers_of_one(tmp_path: Path) -> None:
    with DummyServer(latency_s=0.01) as one, DummyServer(latency_s=0.01) as two, DummyServer(latency_s=0.3) as slow:
        with make_engine(tmp_path / "one", [one.base_url]) as engine:
            alone = {key: r.value for key, r in ask(engine, make_requests(120)).items()}
        asked = one.requests
        with make_engine(tmp_path / "three", [s.base_url for s in (one, two, slow)]) as engine:
            assert {key: r.value for key, r in ask(engine, make_requests(120)).items()} == alone
        assert min(one.requests - asked, two.requests) > 20 and 0 < slow.requests < 20
