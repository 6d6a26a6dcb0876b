"""user_profiles (P), scenarios (E), social_qa (B), what an LLM distils from filtered records after Lewin's B = f(P, E); and
writing_topics, from which T4 lets records be written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from humanllm_assets.asking.identity import llm_identity
from humanllm_assets.asking.questions import llm_measures
from humanllm_assets.contracts.suite import Contract, Lists
from humanllm_assets.lineage.nodes import Node
from humanllm_assets.partitions import Partitions
from humanllm_assets.synthesis import topics
from humanllm_assets.synthesis.scenarios import write_scenarios
from humanllm_assets.synthesis.social_qa import REFINEMENT, write_social_qa
from humanllm_assets.synthesis.user_sets import user_sets
from humanllm_assets.synthesis.users import write_profiles
from humanllm_assets.tables import FAILURES, PROFILES, SCENARIOS, SOCIAL_QA, TOPICS
from resources.item_kinds import ITEM_KINDS, QA, SCENARIO, USER_TEXTS, IncompleteKind, ItemKind, list_kinds
from resources.prompting.lengths import WordLimits
from resources.prompting.prompts import Prompt, PromptError

if TYPE_CHECKING:
    from humanllm_assets.lineage.nodes import Step
    from resources.home import Home
    from resources.profile import Profile
    from resources.thresholds import Thresholds


def nodes(profile: Profile, home: Home) -> list[Node]:
    """The assets of this stage, in the order of the paper."""
    check_kinds(ITEM_KINDS)
    parts = Partitions(profile)
    return [
        _declare_user_profiles(profile, parts),
        _declare_scenarios(profile, parts),
        _declare_social_qa(profile, parts),
        _declare_topics(profile, parts),
    ]


def check_kinds(kinds: Sequence[ItemKind]) -> None:
    """See that every kind has what writes it.

    Raises:
        IncompleteKind: a kind has no usable prompt, or its answer does not become a text about the user.
    """
    for kind in kinds:
        file = f"prompts/{kind.prompt}.md"
        try:
            schema = Prompt.load(kind.prompt).schema
        except PromptError as e:
            raise IncompleteKind(
                f"the item kind `{kind.name}` ({kind.number}) has no usable prompt that writes it, {file}: {e}"
            ) from e
        if kind.about_user and not hasattr(schema, "as_text"):
            raise IncompleteKind(
                f"the item kind `{kind.name}` ({kind.number}) has no text: {file} must name a schema that is a UserText of "
                "humanllm_assets/synthesis/users.py"
            )


def _use_user_sets(step: Step) -> int:
    """Tables `user_records` and `dropped_users` from the source's filtered records, and their measures; how many users there are."""
    step.measures["records_in_several_slices"] = step.records("records", f"filtered_{step.partition}")
    user_sets(step.con, step.profile.thresholds.users, step.partition)
    users, dropped = step.con.execute(
        "select (select count(distinct user_id) from user_records), (select count(*) from dropped_users)"
    ).fetchall()[0]
    step.measures |= {"users": users, "users_with_too_few_records": dropped}
    return users


def _users_identity(profile: Profile, source: str) -> dict[str, Any]:
    """What decides which users of a source there are, and which of their records feed the persona."""
    users = profile.thresholds.users
    return {"min_records": users.fewest_records(source), "persona_share": users.persona_share}


# ---- user_profiles ---------------------------------------------------------------------------------------------------


def user_text_lists(kinds: Sequence[ItemKind]) -> Lists:
    """The lists that the contract of user_profiles reads: the kinds."""
    return {"kinds": [{"kind": k.name} for k in kinds]}


def find_word_limits(kinds: Sequence[ItemKind], thresholds: Thresholds) -> dict[str, WordLimits]:
    """The limits in words of the kinds that have any, by kind, as the thresholds have them."""

    def number(limit: int | str | None) -> int | None:
        return attrgetter(limit)(thresholds) if isinstance(limit, str) else limit

    limits = {kind.name: WordLimits(number(kind.shortest), number(kind.longest)) for kind in kinds}
    return {name: words for name, words in limits.items() if words != WordLimits()}


def _declare_user_profiles(profile: Profile, parts: Partitions) -> Node:
    return Node(
        name="user_profiles",
        group="synthesis",
        description=f"Texts about every user with several records: {list_kinds(USER_TEXTS)}. They are written from the user's earlier "
        "records, so that later ones can be targets.",
        kinds=frozenset({"vllm", "parquet"}),
        tables={"items": PROFILES, "failures": FAILURES},
        partitions=parts.profile_sources,
        deps=tuple(parts.slices_of("filtered")),
        identity=lambda partition: {
            "synthesizer": llm_identity(profile, "synthesizer", [k.prompt for k in USER_TEXTS]),
            "users": _users_identity(profile, partition),
            "words": {kind: asdict(words) for kind, words in find_word_limits(USER_TEXTS, profile.thresholds).items()},
        },
        compute=_user_profiles,
        contract=Contract.load("user_profiles", profile.thresholds, lists=user_text_lists(USER_TEXTS)),
        uses_llm=True,
    )


def _user_profiles(step: Step) -> None:
    users = _use_user_sets(step)
    prompts = {kind.name: Prompt.load(kind.prompt) for kind in USER_TEXTS}
    words = find_word_limits(USER_TEXTS, step.profile.thresholds)
    counts = write_profiles(step.con, step.engine, step.profile.roles["synthesizer"], prompts, words, step.write, step.log)
    step.count(entered=counts.rows_in, kept=counts.kept, dropped=counts.dropped)
    llm_measures(step, counts)
    limited = users * len(words)
    outside = counts.dropped["llm_failed:wrong_length"]
    step.measures["share_within_words"] = 1 - outside / limited if limited else 1.0


# ---- scenarios -------------------------------------------------------------------------------------------------------


def _declare_scenarios(profile: Profile, parts: Partitions) -> Node:
    return Node(
        name="scenarios",
        group="synthesis",
        description="Background, characters and plots of the story in each record (E1).",
        kinds=frozenset({"vllm", "parquet"}),
        tables={"items": SCENARIOS, "failures": FAILURES},
        partitions=parts.scenario_sources,
        deps=tuple(parts.slices_of("filtered", parts.scenario_sources)),
        identity=lambda partition: {
            "synthesizer": llm_identity(profile, "synthesizer", [SCENARIO.prompt]),
            "users": _users_identity(profile, partition),
        },
        compute=_scenarios,
        contract=Contract.load("scenarios", profile.thresholds),
        uses_llm=True,
    )


def _scenarios(step: Step) -> None:
    _use_user_sets(step)
    counts = write_scenarios(
        step.con, step.engine, step.profile.roles["synthesizer"], Prompt.load(SCENARIO.prompt), step.write, step.log
    )
    step.count(entered=counts.rows_in, kept=counts.kept, dropped=counts.dropped)
    llm_measures(step, counts)


# ---- social_qa -------------------------------------------------------------------------------------------------------


def _declare_social_qa(profile: Profile, parts: Partitions) -> Node:
    return Node(
        name="social_qa",
        group="synthesis",
        description="Scenario, question and answer on a user's next action, mental state and reasons, from each record (B1).",
        kinds=frozenset({"vllm", "parquet"}),
        tables={"items": SOCIAL_QA, "failures": FAILURES},
        partitions=parts.scenario_sources,
        deps=tuple(parts.slices_of("filtered", parts.scenario_sources)),
        identity=lambda partition: {
            "synthesizer": llm_identity(profile, "synthesizer", [QA.prompt, REFINEMENT]),
            "users": _users_identity(profile, partition)
            | profile.thresholds.users.model_dump(include={"qa_per_kind", "qa_targets_only"}),
        },
        compute=_social_qa,
        contract=Contract.load("social_qa", profile.thresholds),
        uses_llm=True,
    )


def _social_qa(step: Step) -> None:
    _use_user_sets(step)
    counts = write_social_qa(
        step.con,
        step.engine,
        step.profile.roles["synthesizer"],
        {"triplets": Prompt.load(QA.prompt), "refinement": Prompt.load(REFINEMENT)},
        step.profile.thresholds.users,
        step.write,
        step.log,
    )
    step.count(entered=counts.rows_in, kept=counts.kept, dropped=counts.dropped)
    llm_measures(step, counts)


# ---- writing_topics --------------------------------------------------------------------------------------------------


def _declare_topics(profile: Profile, parts: Partitions) -> Node:
    return Node(
        name="writing_topics",
        group="synthesis",
        description="What each record is about, in a few words of the synthesizer's own: the topic from which T4 lets a text be written.",
        kinds=frozenset({"vllm", "parquet"}),
        tables={"items": TOPICS, "failures": FAILURES},
        partitions=parts.profile_sources,
        deps=tuple(parts.slices_of("filtered")),
        identity=lambda partition: {
            "synthesizer": llm_identity(profile, "synthesizer", [topics.PROMPT]),
            "min_records": profile.thresholds.users.fewest_records(partition),
            "copied_record": profile.thresholds.gates.copied_record,
        },
        compute=_topics,
        contract=Contract.load("writing_topics", profile.thresholds),
        uses_llm=True,
    )


def _topics(step: Step) -> None:
    _use_user_sets(step)
    prompt, gates = Prompt.load(topics.PROMPT), step.profile.thresholds.gates
    role = step.profile.roles["synthesizer"]
    counts = topics.write_topics(step.con, step.engine, role, prompt, gates.copied_record, step.write, step.log)
    step.count(entered=counts.rows_in, kept=counts.kept, dropped=counts.dropped)
    llm_measures(step, counts)
