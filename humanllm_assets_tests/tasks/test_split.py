"""Laws of the stable hash and of the split (T7)."""

from __future__ import annotations

import subprocess
import sys

import duckdb
from hypothesis import given, settings
from hypothesis import strategies as st

from humanllm_assets.tasks.split import MACROS, split_of, split_sql, stable_int, stable_shuffle, stable_unit


def test_sql_and_python_split_every_user_alike():
    con = duckdb.connect()
    for macro in MACROS:
        con.execute(macro)
    users = [f"reddit/ü{i}" for i in range(300)]
    rows = con.execute(f"select u, {split_sql('u', 0.1)} from (select unnest(?) as u)", [users]).fetchall()
    assert all(split_of(u, 0.1) == split for u, split in rows)
    assert con.execute("select stable_unit('a|b')").fetchall() == [(stable_unit("a", "b"),)]


def test_about_one_user_in_ten_is_a_test_user():
    share = sum(split_of(f"user{i}", 0.1) == "test" for i in range(5000)) / 5000
    assert 0.085 < share < 0.115


def test_hash_does_not_depend_on_the_interpreter():
    code = "from humanllm_assets.tasks.split import stable_int; print(stable_int('a', 1))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "7"})
    assert int(out.stdout) == stable_int("a", 1)


@settings(deadline=None)
@given(st.lists(st.text(), unique=True), st.text())
def test_shuffle_does_not_depend_on_the_order_of_its_input(items: list[str], seed: str):
    assert stable_shuffle(items, seed) == stable_shuffle(items[::-1], seed)
    assert sorted(stable_shuffle(items, seed)) == sorted(items)
