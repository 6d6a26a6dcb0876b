"""user_profiles (P), scenarios (E), social_qa (B): what an LLM distils from filtered records, after Lewin's B = f(P, E)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from humanllm_assets.asking.identity import llm_identity
from humanllm_assets.asking.questions import llm_measures
from humanllm_assets.contracts.suite import Contract
from humanllm_assets.lineage.nodes import Node
from humanllm_assets.partitions import Partitions
from humanllm_assets.synthesis.scenarios import write_scenarios
from humanllm_assets.synthesis.social_qa import write_social_qa
from humanllm_assets.synthesis.users import PROMPTS, Kind, user_sets, write_profiles
from humanllm_assets.tables import FAILURES, PROFILES, SCENARIOS, SOCIAL_QA
from resources.prompting.prompts import Prompt

if TYPE_CHECKING:
    from humanllm_assets.lineage.nodes import Step
    from resources.home import Home
    from resources.profile import Profile


def nodes(profile: Profile, home: Home) -> list[Node]:
    parts = Partitions(profile)
    thresholds = profile.thresholds
    users, scenario_sources = parts.profile_sources, parts.scenario_sources
    return [
        Node(
            name="user_profiles",
            group="synthesis",
            description="Persona, profile, life stories and writing style of every user with several records (P1-P4), written from the user's "
            "earlier records, so that later ones can be targets.",
            kinds=frozenset({"vllm", "parquet"}),
            tables={"items": PROFILES, "failures": FAILURES},
            partitions=users,
            deps=tuple(parts.slices_of("filtered")),
            identity=lambda partition: {
                "synthesizer": llm_identity(profile, "synthesizer", list(PROMPTS.values())),
                "users": thresholds.users.model_dump(exclude={"qa_targets_only"}),
            },
            compute=_user_profiles,
            contract=Contract.load("user_profiles", thresholds),
            uses_llm=True,
        ),
        Node(
            name="scenarios",
            group="synthesis",
            description="Background, characters and plots of the story in each record (E1).",
            kinds=frozenset({"vllm", "parquet"}),
            tables={"items": SCENARIOS, "failures": FAILURES},
            partitions=scenario_sources,
            deps=tuple(parts.slices_of("filtered", scenario_sources)),
            identity=lambda partition: {
                "synthesizer": llm_identity(profile, "synthesizer", ["scenario"]),
                "users": thresholds.users.model_dump(exclude={"qa_targets_only"}),
            },
            compute=_scenarios,
            contract=Contract.load("scenarios", thresholds),
            uses_llm=True,
        ),
        Node(
            name="social_qa",
            group="synthesis",
            description="Scenario, question and answer on a user's next action, mental state and reasons, from each record (B1).",
            kinds=frozenset({"vllm", "parquet"}),
            tables={"items": SOCIAL_QA, "failures": FAILURES},
            partitions=scenario_sources,
            deps=tuple(parts.slices_of("filtered", scenario_sources)),
            identity=lambda partition: {
                "synthesizer": llm_identity(profile, "synthesizer", ["social_qa"]),
                "users": thresholds.users,
            },
            compute=_social_qa,
            contract=Contract.load("social_qa", thresholds),
            uses_llm=True,
        ),
    ]


def _users(step: Step) -> None:
    """Tables `user_records` and `dropped_users` from the source's filtered records, and their measures."""
    step.measures["records_in_several_slices"] = step.records("records", f"filtered_{step.partition}")
    user_sets(step.con, step.profile.thresholds.users)
    users, dropped = step.con.execute(
        "select (select count(distinct user_id) from user_records), (select count(*) from dropped_users)"
    ).fetchall()[0]
    step.measures |= {"users": users, "users_with_too_few_records": dropped}


def _user_profiles(step: Step) -> None:
    _users(step)
    prompts: dict[Kind, Prompt] = {kind: Prompt.load(name) for kind, name in PROMPTS.items()}
    counts = write_profiles(step.con, step.engine, step.profile.roles["synthesizer"], prompts, step.write, step.log)
    step.count(entered=counts.rows_in, kept=counts.kept, dropped=counts.dropped)
    llm_measures(step, counts)


def _scenarios(step: Step) -> None:
    _users(step)
    counts = write_scenarios(
        step.con, step.engine, step.profile.roles["synthesizer"], Prompt.load("scenario"), step.write, step.log
    )
    step.count(entered=counts.rows_in, kept=counts.kept, dropped=counts.dropped)
    llm_measures(step, counts)


def _social_qa(step: Step) -> None:
    _users(step)
    counts = write_social_qa(
        step.con,
        step.engine,
        step.profile.roles["synthesizer"],
        Prompt.load("social_qa"),
        step.write,
        step.log,
        targets_only=step.profile.thresholds.users.qa_targets_only,
    )
    step.count(entered=counts.rows_in, kept=counts.kept, dropped=counts.dropped)
    llm_measures(step, counts)
