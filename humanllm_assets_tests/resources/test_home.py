"""A home that cannot be used, or a disk that cannot take more, is said in one sentence, whoever noticed it."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

import duckdb
import pytest
from sqlalchemy.exc import OperationalError
from typer.testing import CliRunner

from humanllm_assets import cli
from resources import home
from resources.home import machine_problem
from resources.profile import load_profile


def wrapped(inner: Exception) -> Exception:
    """As Dagster and SQLAlchemy wrap what they were told."""
    try:
        try:
            raise inner
        except Exception as e:
            raise OperationalError("INSERT", {}, e) from e
    except OperationalError as e:
        return e


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        sqlite3.OperationalError("database or disk is full"),
        wrapped(sqlite3.OperationalError("database or disk is full")),
        duckdb.IOException('Could not write file "x.parquet": No space left on device'),
    ],
    ids=lambda e: type(e).__name__,
)
def test_a_full_disk_is_one_sentence_with_the_remedy(error: Exception, tmp_path: Path) -> None:
    problem = machine_problem(error, tmp_path)
    assert problem and "is full; free some space" in problem and str(tmp_path) in problem and "\n" not in problem


def test_an_input_output_error_means_a_full_disk_only_where_one_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    error = wrapped(sqlite3.OperationalError("disk I/O error"))
    assert machine_problem(error, tmp_path) is None
    monkeypatch.setattr(home, "_least_free", lambda root: 0)
    assert "is full" in str(machine_problem(error, tmp_path))


def test_a_full_memory_is_one_sentence_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(duckdb.Error) as raised, duckdb.connect(config={"memory_limit": "5MB", "temp_directory": ""}) as con:
        con.execute("create table t as select range, md5(range::varchar) from range(1_000_000)")
    for error in (raised.value, wrapped(raised.value), MemoryError()):
        problem = machine_problem(error, tmp_path)
        assert problem and problem.startswith("memory ran out; raise `execution.duckdb_memory`") and "\n" not in problem


def test_other_errors_stay_what_they_are(tmp_path: Path) -> None:
    assert machine_problem(ValueError("no"), tmp_path) is None
    assert machine_problem(OSError(errno.EACCES, "Permission denied", "/etc/shadow"), tmp_path) is None
    assert "cannot be written" in str(machine_problem(OSError(errno.EACCES, "Permission denied", str(tmp_path / "x")), tmp_path))


@pytest.mark.parametrize(
    "arguments", [["status"], ["plan"], ["stop"], ["gc"], ["forget", "reddit/x"], ["materialize", "raw_reddit[askdaily]"]]
)
def test_a_home_that_is_a_file_is_one_sentence_with_the_remedy(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUMANLLM_HOME", "/dev/null")
    monkeypatch.setenv("HUMANLLM_PROFILE", "local")
    said = CliRunner().invoke(cli.app, arguments)
    assert said.exit_code == 1 and said.output == "/dev/null is no folder; set HUMANLLM_HOME to a folder that can be written\n"


@pytest.mark.parametrize("root", ["/proc/nowhere", "/sys/nowhere"])  # where nobody may make a folder, whoever asks
def test_a_home_that_cannot_be_made_is_one_sentence_with_the_remedy(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUMANLLM_HOME", root)
    with pytest.raises(
        home.HomeError, match=f"{root}/local cannot be made .*; set HUMANLLM_HOME to a folder that can be written"
    ):
        home.home_of(load_profile("local")).prepare(load_profile("local"))
