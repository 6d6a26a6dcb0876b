"""`humanllm prompt`: what is shown and tried is what the pipeline asks."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from humanllm_assets import cli
from humanllm_assets_tests.conftest import Project
from humanllm_assets_tests.in_process import InProcess
from resources.prompting import prompts

WITHIN = ("--in", "filtered_reddit[askdaily]")


@pytest.fixture
def humanllm(project: Project, monkeypatch: pytest.MonkeyPatch):
    def run(*arguments: str, code: int = 0) -> str:
        for name, value in project.environment().items():
            monkeypatch.setenv(name, value)
        result = CliRunner().invoke(cli.app, list(arguments))
        assert result.exit_code == code, result.output
        return result.output

    return run


@pytest.fixture
def record(project: Project) -> str:
    """A record that the rewriter is asked about, with everything upstream of the question published."""
    InProcess(project).refresh("filtered_reddit[askdaily]")
    rows = project.store.published("filtered_reddit", "askdaily").path("records")
    return _first(rows, "record_id")


def _first(rows: Path, column: str) -> str:
    import duckdb

    return duckdb.sql(f"select min({column}) from read_parquet('{rows}')").fetchall()[0][0]


def test_a_prompt_is_shown_as_the_server_got_it_with_its_answer(humanllm, record: str, dummy) -> None:
    asked = dummy.requests
    said = humanllm("prompt", "show", "rewrite_record", "--record", record, *WITHIN)
    assert dummy.requests == asked, "showing asks no model"
    contents = [[m["content"] for m in body["messages"]] for body in dummy.bodies]
    [shown] = {tuple(c) for c in contents if all(text in said for text in c)}
    assert len(shown) == 2 and f"rewrite_record about {record}, asked of dummy" in said
    assert "what came" in said and "from the journal" in said and "not asked yet" not in said


def test_a_question_that_nobody_asked_says_how_to_ask_it(humanllm, record: str, dummy, project: Project) -> None:
    roles = project.profile.model_dump(mode="json")["roles"]
    roles["rewriter"]["temperature"] = 0.9
    project.edit(roles=roles)
    said = humanllm("prompt", "show", "rewrite_record", "--record", record, *WITHIN)
    assert f"not asked yet; ask it: humanllm prompt try rewrite_record --record '{record}'" in said


def test_trying_asks_so_often_and_the_first_answer_is_the_pipelines(humanllm, record: str, dummy) -> None:
    asked = dummy.requests
    said = humanllm("prompt", "try", "rewrite_record", "--record", record, "--n", "3", *WITHIN)
    assert dummy.requests == asked + 2 and said.count("tokens, from the journal") == 1 and said.count("1 attempt,") == 3
    again = humanllm("prompt", "try", "rewrite_record", "--record", record, "--n", "3", *WITHIN)
    assert dummy.requests == asked + 2 and again.count("tokens, from the journal") == 3


def test_an_edited_prompt_is_tried_as_it_is_now_and_compared_with_what_was_used(
    humanllm, record: str, dummy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert humanllm("prompt", "diff", "rewrite_record").startswith(
        "as it is now: 1 published partitions (filtered_reddit[askdaily])"
    )
    edited = tmp_path / "prompts"
    shutil.copytree(prompts.PROMPTS, edited)
    file = edited / "rewrite_record.md"
    file.write_text(file.read_text().replace("## user\n", "## user\nKeep every pun.\n", 1))
    monkeypatch.setattr(prompts.Prompt.load.__func__, "__defaults__", (edited,))
    said = humanllm("prompt", "diff", "rewrite_record", code=1)
    assert "+Keep every pun." in said and "another text" in said and "filtered_reddit[askdaily]" in said
    tried = humanllm("prompt", "try", "rewrite_record", "--record", record, *WITHIN)
    assert "Keep every pun." in tried
    assert any("Keep every pun." in m["content"] for m in dummy.bodies[-1]["messages"])


def test_what_cannot_be_shown_is_one_sentence(humanllm, record: str) -> None:
    for arguments, sentence in (
        (("rewrite_recrod",), "the prompt `rewrite_recrod` does not exist"),
        (("tasks/social_qa",), "no asset asks a model with the prompt `tasks/social_qa`: it is a template of samples"),
        (("rewrite_record", "--record", record + "x", *WITHIN), f"asks the prompt `rewrite_record` about {record}x"),
        (
            ("scenario", "--in", "scenarios[blogger]"),
            "1 of them could not be looked through: scenarios[blogger] needs filtered_blogger",
        ),
        (("scenario", "--in", "scenarois"), "scenarois"),
    ):
        said = humanllm("prompt", "show", *arguments, code=1)
        assert sentence in said and said.count("\n") <= 4 and "Traceback" not in said, said
