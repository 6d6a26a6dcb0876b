"""Which eligible records of a slice enter the LLM stages: `caps` and `source_caps` of the thresholds.

Users are drawn by the hash of their name, the records of a user by the hash of their id, so that a larger cap keeps every user and
record of a smaller one, a new user moves nobody else, and the records of a user come from all of the user's time. Users come first,
and then their records: a sample of single records would leave nobody with a history.

A record that answers another one is asked about only where that one is among the filtered records: what was dropped has no answers
either, and the caps draw from what can still become a sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from humanllm_assets.sql import literal

if TYPE_CHECKING:
    import duckdb

    from resources.thresholds import Caps

NOT_FILTERED = "post_not_filtered"


def select_for_llm(
    con: duckdb.DuckDBPyConnection,
    caps: Caps,
    empty_slots: Sequence[str] = (),
    posts: str | None = None,
    gone_posts: Sequence[str] = (),
) -> None:
    """From `records` (the eligible records of one slice) make the tables `selected` and `capped`.

    `selected` has the columns of `records`. `capped` has record_id, user_id, reason; the reasons in the order of the rules:
    `post_not_filtered`: what the record answers is not in the table `posts`; `too_few_records`: the user has fewer than
    `caps.min_records_in_slice` remaining records here; `over_user_cap`: the user is not among the `caps.max_users_per_slice`
    remaining ones with the smallest sha256 of user_id; `over_record_cap`: the record is not among the user's
    `caps.max_records_per_user` with the smallest sha256 of record_id. A null cap keeps all.

    Args:
        empty_slots: sha256 of the ids of forgotten users, who keep their place in the ranking, so that nobody moves up.
        posts: table of the filtered records (record_id) that these records answer; None when they answer none.
        gone_posts: sha256 of the ids of forgotten users' posts; answers to them keep their places too, and are dropped all the same.
    """
    users = "true" if caps.max_users_per_slice is None else f"user_rank <= {int(caps.max_users_per_slice)}"
    records = "true" if caps.max_records_per_user is None else f"record_rank <= {int(caps.max_records_per_user)}"
    forgotten = "".join(f" union all select null, {literal(place)}, true" for place in empty_slots)
    orphan = f"context_id is null or context_id not in (select record_id from {posts})" if posts else "false"
    ghosts = ", ".join(map(literal, gone_posts)) or "null"
    con.execute(f"""
        create or replace table capped as
        with placed as (
            select record_id, user_id, {orphan} as orphan, coalesce(sha256(context_id) in ({ghosts}), false) as ghost from records
        ), candidates as (
            select * from placed where not orphan or ghost
        ), counted as (
            select user_id, sha256(user_id) as place, count(*) >= {int(caps.min_records_in_slice)} as enough
            from candidates group by user_id{forgotten}
        ), ranked as (
            select user_id, enough, row_number() over (partition by enough order by place, user_id) as user_rank
            from counted
        ), judged as (
            select c.record_id, u.enough, {users} as user_fits,
                   row_number() over (partition by c.user_id order by sha256(c.record_id), c.record_id) as record_rank
            from candidates c join ranked u using (user_id)
        )
        select p.record_id, p.user_id,
               case when orphan then '{NOT_FILTERED}'
                    when not enough then 'too_few_records'
                    when not user_fits then 'over_user_cap'
                    else 'over_record_cap' end as reason
        from placed p left join judged using (record_id) where orphan or not (enough and user_fits and {records})
    """)
    con.execute("create or replace table selected as select r.* from records r anti join capped using (record_id)")
