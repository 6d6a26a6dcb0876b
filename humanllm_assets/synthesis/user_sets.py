"""Which users are synthesized, and which of their records feed the persona (P5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

    from resources.thresholds import Users


def user_sets(con: duckdb.DuckDBPyConnection, users: Users, source: str | None = None) -> None:
    """From `records` (the filtered rows of all slices of one source) make `user_records` and `dropped_users`.

    `user_records`: the columns of `records` of every user with at least `users.fewest_records(source)` records, and
    part (VARCHAR):
    `persona` for the user's first records by time, which P1-P4 read; `target` for the later ones.
    `dropped_users`: user_id, reason (`too_few_records`), records (INTEGER).

    A user with n records gives the first round(n * persona_share) of them to the persona, at least 1 and, when n > 1, at most
    n - 1. Records of one moment stay together, so every target is strictly later than every persona record: a group that the
    cut would split goes to the persona, or, when nothing would then be left as a target, to the targets. A user whose records
    all have the same time has no targets.
    """
    con.execute(f"""
        create or replace table dropped_users as
        select user_id, 'too_few_records' as reason, count(*)::integer as records
        from records group by user_id having count(*) < {int(users.fewest_records(source))}
    """)
    con.execute(f"""
        create or replace table user_records as
        with kept as (
            select * from records anti join dropped_users using (user_id)
        ), moments as (
            select user_id, created_at, sum(count(*)) over (partition by user_id order by created_at) as upto,
                   sum(count(*)) over (partition by user_id) as n
            from kept group by user_id, created_at
        ), cuts as (
            select user_id,
                   coalesce(
                       min(created_at) filter (
                           upto >= greatest(1, least(n - 1, round(n * {float(users.persona_share)}))) and upto < n
                       ),
                       max(created_at) filter (upto < n),
                       max(created_at)
                   ) as cutoff_at
            from moments group by user_id
        )
        select kept.*, case when created_at <= cutoff_at then 'persona' else 'target' end as part
        from kept join cuts using (user_id)
    """)
