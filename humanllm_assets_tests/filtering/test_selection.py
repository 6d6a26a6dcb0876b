"""`select_for_llm`: caps choose stably and account for every record."""

import hashlib

import pytest

from humanllm_assets.filtering.selection import select_for_llm
from humanllm_assets_tests.filtering.tables import column, record, with_table
from resources.thresholds import Caps

ROWS = [record(f"r{u}{d}", user=u, day=d) for u, n in (("a", 4), ("b", 3), ("c", 3), ("d", 1)) for d in range(n)]


@pytest.mark.parametrize(
    ("caps", "capped"),
    [
        (Caps(), {}),
        (Caps(max_records_per_user=2), {"over_record_cap": 4}),
        (Caps(min_records_in_slice=3), {"too_few_records": 1}),
        (Caps(max_users_per_slice=0), {"over_user_cap": 11}),
        (Caps(max_users_per_slice=0, min_records_in_slice=4), {"too_few_records": 7, "over_user_cap": 4}),
    ],
)
def test_every_record_is_selected_or_capped_for_one_reason(caps: Caps, capped: dict[str, int]) -> None:
    con = with_table(ROWS)
    select_for_llm(con, caps)
    assert dict(con.execute("select reason, count(*) from capped group by reason").fetchall()) == capped
    assert column(con, "select count(*) from selected") == [len(ROWS) - sum(capped.values())]


def test_a_larger_cap_keeps_the_users_of_a_smaller_one_whatever_the_order_of_rows() -> None:
    chosen = []
    for cap, rows in ((1, ROWS), (2, ROWS[::-1]), (3, ROWS)):
        con = with_table(rows)
        select_for_llm(con, Caps(max_users_per_slice=cap))
        chosen.append(set(column(con, "select user_id from selected")))
    assert [len(users) for users in chosen] == [1, 2, 3]
    assert chosen[0] < chosen[1] < chosen[2]


def test_the_records_of_a_user_are_drawn_by_their_hash_and_a_larger_cap_keeps_those_of_a_smaller_one() -> None:
    mine = [record(f"r{n}", day=n) for n in range(40)]
    by_hash = sorted((r["record_id"] for r in mine), key=lambda i: hashlib.sha256(i.encode()).hexdigest())
    for cap, rows in ((1, mine), (7, mine[::-1]), (20, mine)):
        con = with_table(rows)
        select_for_llm(con, Caps(max_records_per_user=cap))
        assert set(column(con, "select record_id from selected")) == set(by_hash[:cap])


def test_what_answers_no_filtered_post_is_dropped_before_the_caps_draw() -> None:
    answers = [record(f"c{u}{n}", user=u, context_id=f"p{n}") for u in "ab" for n in range(4)]
    con = with_table([*answers, record("cx", user="a")])
    con.execute("create table posts as select unnest(['p1', 'p3']) as record_id")
    select_for_llm(con, Caps(max_records_per_user=2, min_records_in_slice=2), (), "posts")
    assert set(column(con, "select record_id from selected")) == {"ca1", "ca3", "cb1", "cb3"}
    assert set(column(con, "select reason from capped")) == {"post_not_filtered"}
    assert column(con, "select count(*) from capped") == [5], "a record that names no post answers none"
