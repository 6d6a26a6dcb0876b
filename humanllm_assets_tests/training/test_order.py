"""The order law: seed and ids decide; processes, micro batch and row order do not."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from humanllm_assets.training.order import EMPTY, count_places, epoch_order, places_of, stream
from resources.training import cut_log, read_log

IDS = [f"s{i}" for i in range(23)]


def test_row_order_does_not_change_the_order_of_samples():
    turned = IDS[::-1]
    assert [IDS[i] for i in epoch_order(IDS, 1, 0)] == [turned[i] for i in epoch_order(turned, 1, 0)]


def test_seed_and_epoch_change_the_order():
    assert epoch_order(IDS, 1, 0) == epoch_order(IDS, 1, 0)
    assert len({tuple(epoch_order(IDS, seed, epoch)) for seed in (1, 2) for epoch in (0, 1)}) == 4


def test_every_epoch_holds_every_sample_once():
    places = stream(IDS, 1, 3, 8)
    for epoch in range(3):
        assert sorted(places[epoch * 23 : (epoch + 1) * 23]) == list(range(23))
    assert list(places[69:]) == [EMPTY] * 3


def test_max_steps_cuts_the_stream_without_changing_its_order():
    assert stream(IDS, 1, 3, 8, max_steps=4) == stream(IDS, 1, 3, 8)[:32]
    assert count_places(23, 3, 8, 4) == (4, 32)
    assert count_places(23, 0.5, 8, None) == (2, 12)
    assert count_places(1, 0.1, 8, None) == (1, 1)


@settings(max_examples=50, deadline=None)
@given(st.sampled_from([(1, 1), (1, 8), (2, 1), (2, 4), (4, 2), (8, 1)]), st.integers(1, 5))
def test_processes_and_micro_batch_do_not_change_what_a_step_trains(division, step):
    processes, micro_batch = division
    micros = 8 // (processes * micro_batch)
    trained = [
        p
        for micro in range(micros)
        for rank in range(processes)
        for p in places_of(step, micro, rank, batch_size=8, micro_batch=micro_batch, processes=processes)
    ]
    assert trained == list(range((step - 1) * 8, step * 8))


@pytest.mark.parametrize("torn", ["", '{"step": 2, "lo'])
def test_cut_log_drops_later_steps_and_a_torn_row(tmp_path, torn):
    log = tmp_path / "log.jsonl"
    log.write_text("".join(json.dumps({"step": s}) + "\n" for s in (1, 2, 3)) + torn)
    assert [r["step"] for r in read_log(log)] == [1, 2, 3]
    cut_log(log, 2)
    assert [r["step"] for r in read_log(log)] == [1, 2]
    cut_log(tmp_path / "none.jsonl", 2)
    assert read_log(tmp_path / "none.jsonl") == []
