"""What the detector of private items finds, leaves alone and replaces; recall and false alarms on made-up texts."""

from __future__ import annotations

import random
import re
import socket
import subprocess
import sys
import time
from collections import Counter

import pytest

from humanllm_assets.filtering.privacy.finding import detector_identity, find_left, find_private
from humanllm_assets.filtering.privacy.masking import mask
from humanllm_assets_tests.filtering.private_texts import FORMS, INNOCENT, UNMEASURED, draw_innocent, draw_samples

PER_FORM, PER_INNOCENT = 45, 62


@pytest.fixture(scope="module", autouse=True)
def recognizers() -> None:
    """Presidio takes seconds to import, and is imported when a text may hold what it knows."""
    find_private("4111 1111 1111 1111")


def test_recall_and_false_alarms() -> None:
    started = time.process_time()
    found, drawn = Counter(), Counter()
    for sample in draw_samples([*FORMS, *UNMEASURED], PER_FORM):
        drawn[sample.kind] += 1
        items = [(i.kind, i.value, sample.text[i.start : i.end]) for i in find_private(sample.text)]
        found[sample.kind] += items == [(sample.kind, sample.value, sample.written)]
    innocent = list(draw_innocent(PER_INNOCENT))
    alarms = [(name, text) for name, text in innocent if find_private(text)]
    unmeasured = {kind for kind, *_ in UNMEASURED}
    for kind, n in drawn.items():
        print(f"{kind:12} {n:5} items, recall {found[kind] / n:.3f}{' (no claim)' if kind in unmeasured else ''}")
    print(
        f"{len(innocent)} innocent texts, false alarms {len(alarms) / len(innocent):.4f}, {time.process_time() - started:.1f} s"
    )
    measured = [kind for kind in drawn if kind not in unmeasured]
    assert len(FORMS) >= 40 and sum(drawn[k] for k in measured) >= 2_000 and len(innocent) >= 2_000
    assert {k: found[k] / drawn[k] for k in measured if found[k] < 0.99 * drawn[k]} == {}
    assert len(alarms) <= 0.01 * len(innocent), alarms
    assert len({name for name, _ in innocent}) == len(INNOCENT) >= 20
    assert time.process_time() - started < 10


@pytest.mark.parametrize(
    "text",
    [
        "call 2065550143 now",
        "call +12065550143",
        "tel:+442079460712",
        "(206)5550143",
        "206/555-0143",
        "07700900456",
        "07700 900456",
        "(555) 0143",
        "Mob9876501234",
        "my cell: 206.555.0143 x12",
        "two oh six, five five five, zero one four three",
        "whatsapp +49 (0)30 23125 123",
        "id 078-05-1120",
        "ada at yahoo dot com",
        "ada (at) yahoo.com",
        "ada{at}yahoo{dot}com",
        "ada＠yahoo.com",
        "ada @ yahoo.com",
        "ada_at_yahoo_dot_com",
        "ada.b+c@mail.co.uk",
        "write to ada@gmail",
    ],
)
def test_an_item_is_found_and_replaced(text: str) -> None:
    items = find_private(text)
    assert len(items) == 1
    assert not find_left(items, mask(text))


@pytest.mark.parametrize(
    "text",
    [
        "My 235 325 415 journey",
        "2003 2004 2005: three good years",
        "It cost 200 000 000 rupees",
        "my scores: 97 100 99 98",
        "calories: 1700 2100 2300",
        "rooms 201 202 203",
        "resolutions 1280 1024 2048",
        "640 800 1024 wide",
        "my phone cost 1800 2000 2200",
        "in 2004 I had 1,250,000 reasons",
        "order number 4155550123",
        "look at birch dot com",
        "I was at maple.com at noon.then home",
        "thanks @ada.birch",
        "std::vector<int> a::b::c",
        "",
    ],
)
def test_other_numbers_and_words_are_left_alone(text: str) -> None:
    assert find_private(text) == []
    assert mask(text) == text


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("call +1 (206) 555-0143", "call (206) 555-0143"),
        ("call 2065550143", "it is 206-555-0143"),
        ("call 2065550143", "it is two zero six five five five zero one four three"),
        ("call 206-555-0143", "it is 555-0143"),
        ("call +44 20 7946 0712", "on 020 7946 0712"),
        ("call 020 7946 0712", "order +44(0)2079460712"),
        ("ada@mail.org", "ada (at) mail.org"),
        ("ada@mail.org", "Ada at mail . org"),
        ("ada.birch@gmail.com", "ada dot birch at gmail"),
        ("card 4111 1111 1111 1111", "card 4111111111111111"),
        ("DE89 3704 0044 0532 0130 00", "de89-3704-0044-0532-0130-00"),
        ("my id 219-09-9999", "my id 219 09 9999"),
        ("see instagram.com/ada_b", "see Instagram . com / ada_b"),
    ],
)
def test_an_item_is_recognised_in_another_writing(source: str, text: str) -> None:
    items = find_private(source)
    assert find_left(items, text) == items and len(items) == 1
    assert not find_left(items, f"nothing of it, but 646-555-0199 and bob@mail.org {mask(source)}")


def test_every_form_is_recognised_in_every_other() -> None:
    """Items that have several forms, drawn as the same values in each."""
    rng = random.Random(7)
    forms = [f for f in FORMS if f[0] == "phone" and f[1].startswith("US")]
    for _, _, write, frames in forms:
        for _, _, other, _ in forms:
            seed = rng.random()
            text = frames[0].format(write(random.Random(seed))[0])
            rewritten, value = other(random.Random(seed))
            assert [i.value for i in find_left(find_private(text), f"and so {rewritten} it is")] == [value], (text, rewritten)


def test_an_item_has_one_replacement_per_owner() -> None:
    text = "Ada@mail.org or ada (at) mail.org, 206-555-0143 or +1 206 555 0143; bob@mail.org"
    masked = mask(text, "reddit/ada")
    first, second, third = (w for w in masked.replace(";", "").replace(",", "").split() if "@" in w)
    assert first == second != third
    phones = re.findall(r"555-01\d\d", masked)
    assert len(phones) == 2 and len(set(phones)) == 1
    assert masked == mask(text, "reddit/ada") != mask(text, "reddit/bob")
    assert first in mask("again: ADA@MAIL.ORG", "reddit/ada")


def test_a_replacement_is_never_a_private_item() -> None:
    for last in range(100):
        text = f"call 206-555-01{last:02} or (555) 01{99 - last:02}"
        assert not find_left(find_private(text), mask(text)), text


def test_items_of_other_texts_are_replaced_without_a_hint() -> None:
    known = find_private("call me at 206 555 0143")
    assert find_private("order 2065550143") == []
    assert "2065550143" not in mask("order 2065550143", known=known)


def test_the_libraries_that_decide_are_named() -> None:
    assert set(detector_identity()) == {"phonenumbers", "presidio-analyzer", "tldextract"}


def test_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert find_private("ada@mail.co.uk, 4111 1111 1111 1111, 8.8.4.41, passport 912345678")


def test_importing_the_module_imports_no_library() -> None:
    code = "import sys, humanllm_assets.filtering.rewriting; print({'presidio_analyzer', 'spacy', 'phonenumbers', 'tldextract'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_long_texts_take_linear_time() -> None:
    for piece in ("1 ", "12-", "a@", "a.", "at ", "(at)", "555-", "1:", "one ", "a" * 40, "+1 "):
        started = time.process_time()
        find_private(piece * (40_000 // len(piece)))
        assert time.process_time() - started < 8, piece
