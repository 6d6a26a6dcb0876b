"""What a plan says about the models is what the servers then see."""

from __future__ import annotations

from humanllm_assets_tests.in_process import InProcess, everything_in

TARGET = "filtered_reddit[askdaily]"


def test_the_first_layer_is_known_exactly_and_looking_leaves_no_trace(project, dummy):
    InProcess(project).refresh("eligible_reddit[askdaily]")
    before = everything_in(project.home.root)
    first = InProcess(project).forecast(TARGET)
    assert everything_in(project.home.root) == before
    assert dummy.requests == 0
    assert first.certain == 12 and not first.exact, "labels depend on what the rewriter will say"
    assert first.calls == 24 and first.input_tokens is None, "one label a rewrite, and no call was ever recorded"

    summary = InProcess(project).refresh(TARGET)
    assert summary.computed == [TARGET] and dummy.requests == 24

    roles = project.profile.model_dump(mode="json")["roles"]
    roles["labeller"]["temperature"] = 0.3  # rewrites are known, labels are not
    project.edit(roles=roles)
    again = InProcess(project).forecast(TARGET)
    assert again.exact and (again.calls, again.certain, again.journal_hits) == (12, 12, 12)
    assert again.input_tokens and again.output_tokens and again.seconds is not None
    InProcess(project).refresh(TARGET)
    assert dummy.requests == 24 + 12


def test_nothing_is_asked_when_the_journal_knows_every_answer(project, dummy):
    InProcess(project).refresh(TARGET)
    asked = dummy.requests
    thresholds = project.profile.model_dump(mode="json")["thresholds"]
    thresholds["labels"]["keep_quality"] = ["high"]
    project.edit(thresholds=thresholds)
    found = InProcess(project).forecast(TARGET)
    assert found.exact and (found.calls, found.journal_hits) == (0, 24)
    assert (found.input_tokens, found.output_tokens, found.cost) == (0, 0, 0)
    InProcess(project).refresh(TARGET)
    assert dummy.requests == asked


def test_what_follows_is_estimated_from_what_it_cost_before_and_says_so(project, dummy):
    unknown = InProcess(project).plan("social_qa[blogger]")
    by_asset = {s.asset: f for s, f in unknown.items}
    assert by_asset["social_qa"].calls is None, "nothing of its kind ever ran"

    project.edit(engine={"price_per_million_input": 2.0, "price_per_million_output": 8.0})
    InProcess(project).refresh("social_qa[blogger]")
    by_label = project.store.published("social_qa", "blogger").manifest.usage
    assert set(by_label) == {"social_qa", "refine social_qa"}
    usage = {name: sum(stats[name] for stats in by_label.values()) for name in by_label["social_qa"]}
    roles = project.profile.model_dump(mode="json")["roles"]
    roles["rewriter"]["seed"] = 5  # one of the two slices' rewrites would do; both change
    project.edit(roles=roles)
    by_asset = {s.asset: f for s, f in InProcess(project).plan("social_qa[blogger]").items}
    found = by_asset["social_qa"]
    assert not found.exact and found.certain == 0
    assert found.calls == usage["calls"] + usage["journal_hits"], "every question above is new"
    assert found.cost == (found.calls * (usage["input_tokens"] * 2 + usage["output_tokens"] * 8) / usage["calls"]) / 1e6


def test_a_guessed_cut_is_not_called_exact(project, dummy):
    InProcess(project).refresh("eligible_reddit[askdaily]")
    models = project.profile.model_dump(mode="json")["models"]
    models["smollm2"] = {"name": "dummy", "revision": "1", "path": "nowhere"}
    roles = project.profile.model_dump(mode="json")["roles"]
    roles["rewriter"]["max_input_tokens"] = 40
    project.edit(models=models, roles=roles)
    found = InProcess(project).forecast(TARGET)
    assert found.certain == 12 and not found.exact and "guess of their tokens" in found.note
