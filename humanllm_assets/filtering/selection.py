"""Which eligible records of a slice enter the LLM stages: the caps of `thresholds.caps`.

The paper sends everything; a cap makes a run affordable. Users are drawn by the hash of their name, so that a larger cap keeps
every user of a smaller one and a new record moves nobody else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

    from resources.thresholds import Caps


def select_for_llm(con: duckdb.DuckDBPyConnection, caps: Caps, empty_slots: Sequence[str] = ()) -> None:
    """From `records` (the eligible records of one slice) make the tables `selected` and `capped`.

    `selected` has the columns of `records`. `capped` has record_id, user_id, reason; the reasons in the order of the rules:
    `too_few_records`: the user has fewer than `caps.min_records_in_slice` records here; `over_user_cap`: the user is not among
    the `caps.max_users_per_slice` remaining ones with the smallest sha256 of user_id; `over_record_cap`: the record is not among
    the user's earliest `caps.max_records_per_user` by (created_at, record_id). A null cap keeps all.

    `empty_slots`: sha256 of the ids of forgotten users, who keep their place in the ranking, so that nobody moves up.
    """
    users = "true" if caps.max_users_per_slice is None else f"user_rank <= {int(caps.max_users_per_slice)}"
    records = "true" if caps.max_records_per_user is None else f"record_rank <= {int(caps.max_records_per_user)}"
    forgotten = "".join(f" union all select null, '{place}', true" for place in empty_slots)
    con.execute(f"""
        create or replace table capped as
        with counted as (
            select user_id, sha256(user_id) as place, count(*) >= {int(caps.min_records_in_slice)} as enough
            from records group by user_id{forgotten}
        ), ranked as (
            select user_id, enough, row_number() over (partition by enough order by place, user_id) as user_rank
            from counted
        ), judged as (
            select r.record_id, r.user_id, u.enough, {users} as user_fits,
                   row_number() over (partition by r.user_id order by r.created_at, r.record_id) as record_rank
            from records r join ranked u using (user_id)
        )
        select record_id, user_id,
               case when not enough then 'too_few_records'
                    when not user_fits then 'over_user_cap'
                    else 'over_record_cap' end as reason
        from judged where not (enough and user_fits and {records})
    """)
    con.execute("create or replace table selected as select r.* from records r anti join capped using (record_id)")
