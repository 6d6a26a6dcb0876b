"""Damaged copies of synthesized items: what a judge must notice, made by plain code. No model, no network, nothing drawn by chance.

Every kind of damage is a function from an item's parts to the parts of its copy, or to None where the item has no place for it. It
changes what it says and nothing else. Which draw a function makes depends on the item alone, so a copy is always the same.

What belongs here: texts in, texts out. What does not: which items are copied and how they are judged (`copies.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

Parts = Mapping[str, str]
"""An item's texts by column: `text` of a text about a user; background, characters and plots; scenario, question and answer."""

_MAIN = ("text", "plots", "scenario")  # the part that most kinds of damage hit: the first of these that the item has
_NOT_OF_THE_PERSON = ("question", "answer")  # what stays when the facts become another user's
_BETWEEN_SENTENCES = re.compile(r"((?<=[.!?…])\s+)")
_SHORTEST_TO_CUT = 40  # characters

FILLERS = (
    "It is worth saying that many things can be said about many people.",
    "As is well known, every day has a morning and an evening.",
    "In general, it depends on what one looks at and on how one looks at it.",
    "All in all, there are several sides to this, and each of them has its place.",
    "Needless to say, some things are one way and other things are another way.",
)
FOREIGN = (
    "Der Zug nach Lindental fährt heute erst um halb neun ab.",
    "El panadero de la esquina cierra los martes por la tarde.",
    "La pluie tombe depuis ce matin sur les toits du vieux port.",
    "Il gatto della vicina dorme sempre sopra il muro del giardino.",
    "De fietsen staan nog steeds achter de schuur bij het water.",
    "Kirja jäi eilen illalla keittiön pöydälle ikkunan viereen.",
)


@dataclass(frozen=True)
class Others:
    """Whose parts a damage may borrow: an item of the same kind about another user, and another question about the same record."""

    user: Parts | None = None
    question: Parts | None = None


@dataclass(frozen=True)
class Damage:
    """One kind of damage: what makes it, which parts an item must have, and which metrics are there to notice it (Q2)."""

    make: Callable[[Parts, Others, Random], dict[str, str] | None]
    says: str
    noticed_by: tuple[str, ...]
    parts: tuple[str, ...] = ()


def swap_facts(parts: Parts, others: Others, draw: Random) -> dict[str, str] | None:
    """Another user's facts in place of this user's; a question and its answer stay."""
    if others.user is None:
        return None
    return {**parts, **{name: others.user[name] for name in parts if name not in _NOT_OF_THE_PERSON}}


def paste_answer(parts: Parts, others: Others, draw: Random) -> dict[str, str]:
    """The answer at the end of the scenario, so that nothing is left to infer."""
    return {**parts, "scenario": f"{parts['scenario'].rstrip()} {parts['answer']}"}


def flip_answer(parts: Parts, others: Others, draw: Random) -> dict[str, str] | None:
    """The answer to another question about the same record, whose label is another one."""
    return None if others.question is None else {**parts, "answer": others.question["answer"]}


def add_filler(parts: Parts, others: Others, draw: Random) -> dict[str, str]:
    """Three sentences that say nothing, after sentences of the item."""
    pieces = _split(parts[main_part(parts)])
    for filler in draw.sample(FILLERS, 3):
        pieces[2 * draw.randrange((len(pieces) + 1) // 2)] += f" {filler}"
    return _with_main(parts, "".join(pieces))


def contradict(parts: Parts, others: Others, draw: Random) -> dict[str, str]:
    """One of the item's own sentences denied at its end."""
    text = parts[main_part(parts)].rstrip()
    denied = draw.choice(_split(text)[::2]).rstrip(".!?… ")
    return _with_main(parts, f"{text} It is not true that {denied[:1].lower()}{denied[1:]}.")


def truncate(parts: Parts, others: Others, draw: Random) -> dict[str, str] | None:
    """An end inside a word, after about half of the text."""
    text = parts[main_part(parts)]
    inside = [i for i in range(2 * len(text) // 5, 7 * len(text) // 10) if text[i - 1 : i + 1].isalnum()]
    return _with_main(parts, text[: draw.choice(inside)]) if len(text) >= _SHORTEST_TO_CUT and inside else None


def change_language(parts: Parts, others: Others, draw: Random) -> dict[str, str]:
    """Sentences in other languages, about something else, in place of the second half."""
    pieces = _split(parts[main_part(parts)])
    sentences = (len(pieces) + 1) // 2
    kept = "".join(pieces[: 2 * (sentences // 2)])
    return _with_main(parts, kept + " ".join(draw.sample(FOREIGN, min(len(FOREIGN), sentences - sentences // 2))))


def repeat_content(parts: Parts, others: Others, draw: Random) -> dict[str, str]:
    """The same content twice: longer, and no better."""
    text = parts[main_part(parts)].rstrip()
    return _with_main(parts, f"{text}\n\nIn other words: {text}")


DAMAGES: dict[str, Damage] = {
    "swapped_facts": Damage(swap_facts, "another user's facts", ("hallucination", "coverage", "fidelity", "overall")),
    "filler": Damage(add_filler, "sentences that say nothing", ("conciseness", "relevance", "overall")),
    "contradiction": Damage(contradict, "a sentence denied", ("hallucination", "fidelity", "overall")),
    "truncation": Damage(truncate, "an end inside a word", ("coverage", "overall")),
    "other_language": Damage(
        change_language, "half of it in other languages", ("hallucination", "coverage", "relevance", "overall")
    ),
    "verbosity": Damage(repeat_content, "the same content twice", ("conciseness",)),
    "pasted_answer": Damage(paste_answer, "the answer in the scenario", ("leakage",), ("scenario", "answer")),
    "flipped_answer": Damage(
        flip_answer, "the answer to another question", ("fidelity", "overall"), ("scenario", "question", "answer")
    ),
}
"""By name. `swapped_facts` of a scenario is a coherent story, so there `fidelity` has nothing to notice: see `noticing`."""


def main_part(parts: Parts) -> str:
    """The part that damage to the text as a whole hits."""
    return next(name for name in _MAIN if name in parts)


def applicable(parts: Parts) -> list[str]:
    """Names of the kinds of damage that items with these parts can take, in the order of DAMAGES."""
    return [name for name, damage in DAMAGES.items() if set(damage.parts) <= set(parts)]


def noticing(damage: str, metrics: tuple[str, ...]) -> tuple[str, ...]:
    """Those of an item kind's metrics that must fall under a damage.

    `fidelity` asks whether parts fit together, so facts that change alike in all parts leave it; only a question and its answer,
    which stay (`leakage` is scored), are left without their scenario.
    """
    wanted = DAMAGES[damage].noticed_by
    if damage == "swapped_facts" and "leakage" not in metrics:
        wanted = tuple(m for m in wanted if m != "fidelity")
    return tuple(m for m in metrics if m in wanted)


def damaged(name: str, item_id: str, parts: Parts, others: Others) -> dict[str, str] | None:
    """The parts of an item's copy with one kind of damage; None where it has no place for it, or would be no other text."""
    copy = DAMAGES[name].make(parts, others, Random(f"{name} {item_id}"))
    return None if copy is None or copy == dict(parts) else copy


def _split(text: str) -> list[str]:
    """Sentences, and between two of them the white space that parts them: joined again they are the text."""
    return _BETWEEN_SENTENCES.split(text.strip())


def _with_main(parts: Parts, text: str) -> dict[str, str]:
    return {**parts, main_part(parts): text}
