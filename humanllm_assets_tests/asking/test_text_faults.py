"""Each measure on texts that have the fault, and on neighbours that only look like it, at the limits of `Gates`."""

from __future__ import annotations

import pytest

from humanllm_assets.asking.text_faults import (
    Source,
    assistant_talk,
    copied_share,
    foreign_share,
    longest_copy,
    markup,
    names,
    numbers,
    pieces,
    repeated_sentences,
    repeated_words,
    split_sentences,
    split_words,
    template_pieces,
    unknown_names,
    unknown_numbers,
)
from humanllm_assets.quality.damage import FILLERS, FOREIGN
from resources.prompting.prompts import Prompt
from resources.sample import texts as sample
from resources.thresholds import Gates

LIMIT = Gates()
HONEST = (
    "This person works nights on a hospital ward and keeps a small garden behind the house. They like long walks, worry about their "
    "father, and tell every story with a dry joke at its end. What they value most is somebody who sits down for two minutes."
)


@pytest.mark.parametrize(
    "text",
    [
        "This person likes the sea and the sea and the sea and the sea and the sea and the sea and the sea.",
        HONEST + " They like it." * 20,
        f"{HONEST}\n\nIn other words: {HONEST}",
        "They say " + "very " * 30,
        "They laughed: " + "ha" * 60,
        "They wrote " + "!" * 60,
    ],
)
def test_loops_are_repetition(text: str) -> None:
    assert repeated_words(text, split_words(text)) > LIMIT.repeated_words


@pytest.mark.parametrize(
    "text",
    [
        "",
        HONEST,
        "It was very, very, very cold, and they laughed: hahaha!!!",
        "They do not run because they must; they do not run because they can. They run because the lake is there.",
    ],
)
def test_an_emphasis_is_no_loop(text: str) -> None:
    assert repeated_words(text, split_words(text)) <= LIMIT.repeated_words


def test_sentences_said_again_are_counted() -> None:
    assert (
        repeated_sentences(
            ["They like the old harbour.", "they like the OLD harbour!", "Why?", "Why?", "They like the old harbour."]
        )
        == 2
    )


def test_a_prompt_given_back_is_an_echo_and_its_words_alone_are_none() -> None:
    prompt = template_pieces(Prompt.load("writing_style").text)
    echo = "This person describes the tone, length of sentences, choice of words, punctuation, humour and typical phrases."
    honest = (
        "The tone is dry. Sentences are of middling length, the choice of words is plain, and there is hardly any punctuation."
    )
    assert longest_copy(split_words(echo), prompt) > LIMIT.prompt_echo >= longest_copy(split_words(honest), prompt)


def test_what_is_filled_into_a_prompt_is_not_its_own_text() -> None:
    assert template_pieces("## user\nOne two three {{ records }} four five\n<records>six seven eight nine</records>") == {
        ("six", "seven", "eight", "nine")
    }


@pytest.mark.parametrize("sentence", [*FOREIGN, "我昨天和姐姐去了湖边，聊了很久。", "Вчера мы гуляли у озера.", "Жду."])
def test_a_foreign_sentence_is_found(sentence: str) -> None:
    assert foreign_share([sentence]) == 1
    assert foreign_share([sentence, HONEST]) == len(sentence) / len(sentence + HONEST)
    assert foreign_share(split_sentences(f"So it goes.\n{sentence}")) > LIMIT.foreign_share


@pytest.mark.parametrize(
    "text",
    [
        HONEST,
        *FILLERS,
        "ok!!! 123",
        "Déjà vu!",
        "We had a crème brûlée at the café on Rue de la Paix, and it was good.",
        "\U0001f600 \U0001f600",
        "",
    ],
)
def test_english_with_foreign_names_is_english(text: str) -> None:
    assert foreign_share(split_sentences(text)) == 0


@pytest.mark.parametrize(
    "text",
    [
        "As an AI language model, I do not have access to the person's life.",
        "As an AI, I would describe this person as kind.",
        "I'm sorry, but I cannot help with that request.",
        "I can't assist with writing about private persons.",
        "I’m unable to provide this information.",
        "Here is the persona you asked for: a nurse who likes the sea.",
        "Sure! Here's a short description of the person:\nA nurse.",
        "Certainly, here are three exercises.",
        "A nurse who likes the sea. I hope this helps!",
        "A nurse. Let me know if you need any changes.",
        "Based on the provided texts, this person is a nurse.",
        "A nurse. Note: this profile is fictional.",
    ],
)
def test_talk_to_whoever_asked_is_found(text: str) -> None:
    assert assistant_talk(text) > LIMIT.assistant_talk


@pytest.mark.parametrize(
    "text",
    [
        HONEST,
        "As an AI researcher, this person reads a lot.",
        "As an air traffic controller she sleeps little.",
        "They say that they cannot help but laugh, and that they can't help their brother with money.",
        "“I can't provide for a family on this,” the user says.",
        "Here is where they met, and here is the bench on which they sat.",
        "They wrote a note: the key is under the mat.",
        "The user asks an AI model to answer the door and hopes that this helps.",
        "Sure, they like the sea.",
    ],
)
def test_a_person_who_speaks_alike_is_left_alone(text: str) -> None:
    assert assistant_talk(text) == 0


@pytest.mark.parametrize(
    "text",
    [
        "They live <b>by the sea</b>.",
        "They said &quot;no&quot; and left.",
        "A nurse.<|im_end|>",
        "[INST] A nurse [/INST]",
        "```\nA nurse.\n```",
        "## Persona\nA nurse.",
        "**Tone:** dry.",
        "See https://example.com for more.",
        "A nurse.\\nShe likes the sea.",
        "She likes caf\\u00e9s.",
        '{"text": "A nurse."',
        'A nurse."}',
        "A nurse called [Name].",
        "She lives in {{ town }}.",
        "A nurse\x00.",
        "A nurse\u202e.",
        "A nurse \ufffd.",
    ],
)
def test_what_is_no_writing_is_markup(text: str) -> None:
    assert markup(text) > LIMIT.markup


@pytest.mark.parametrize(
    "text",
    [
        HONEST,
        "I <3 you, 5 < 6 > 4, and 2 * 3 * 4; *sigh*.",
        "They write #blessed, @jo, C:\\new and AT&T; they like [sic] and R&B.",
        "Summary: they moved.\nStory: they packed, “slowly,” and left\tat noon.",
        "A family \U0001f468\u200d\U0001f469\u200d\U0001f467 and a 1) 2) 3) list.",
        'They call it "home", "nest": both words.',
        "#1 dad in town",
    ],
)
def test_signs_that_people_write_are_no_markup(text: str) -> None:
    assert markup(text) == 0


def test_an_answer_that_stands_in_its_scenario_is_copied() -> None:
    scenario = split_words("The phone rings twice. The user puts the kettle down and calls her sister back. It rains.")
    assert copied_share(split_words("The user puts the kettle down and calls her sister back."), scenario) == 1
    assert copied_share(split_words("It rains."), scenario) == 1
    half = copied_share(split_words("She calls her sister back. The user puts the kettle down because of the call."), scenario)
    assert half > LIMIT.copied_answer
    assert copied_share(split_words("She rings her sister, since she had promised it."), scenario) == 0
    assert copied_share(split_words("It snows."), scenario) == copied_share([], scenario) == 0


def test_a_record_in_a_style_is_copied_and_a_quoted_phrase_is_not() -> None:
    records = Source(["Nights on the ward taught me that people mostly want someone to sit down for two minutes."])
    pasted = split_words("It reads: nights on the ward taught me that people mostly want someone to sit down.")
    quoted = split_words("Typical is “people mostly want someone to sit down”, said dryly.")
    assert longest_copy(pasted, records.pieces) == 14 > LIMIT.copied_record
    assert longest_copy(quoted, records.pieces) == 7 <= LIMIT.copied_record


def test_numbers_that_no_record_holds_are_counted() -> None:
    known = Source(["[2010-05-03]\nMy two sons are thirty five and 12; the boat cost $1,250.50 on May 3rd."]).numbers
    assert unknown_numbers("At 35, with a son of 12, in 2010, they paid 1250.50; they own 9 boats.", known) == 0
    assert unknown_numbers("Born in the 1980s, in their 30s.", known) == 0
    assert unknown_numbers("Aged 47, they earn $90,000 in 2015; 47 again.", known) == 3
    assert numbers("v1.2.3 costs 1,000,000.5") == {1_000_000.5}


def test_names_that_no_record_holds_are_counted() -> None:
    known = Source(["I moved from Canada to lindental with anna and my dog Rex."]).beginnings
    assert (
        unknown_names("A Canadian, this person lives in Lindental with Anna's dog Rex since May. Sunny days please them.", known)
        == 0
    )
    assert unknown_names("This person met Roberta and Quentin in Hamburg, and Roberta again.", known) == 3
    assert names("The Lake is cold. “Peter said so. They like Peter's LOL and McDonalds.") == {"lake", "peter", "mcdonalds"}
    assert unknown_names("They like the Lake; the lake is cold.", known) == 0


def test_the_samples_own_texts_pass() -> None:
    """Invented texts of people: none has a fault of a model."""
    found = [text for _, lesson, events in sample.JOBS for text in (lesson, *(" ".join(event[1:]) for event in events))]
    assert len(found) > 20
    for text in found:
        words, sentences = split_words(text), split_sentences(text)
        assert repeated_words(text, words) <= LIMIT.repeated_words and repeated_sentences(sentences) == 0, text
        assert foreign_share(sentences) == assistant_talk(text) == markup(text.replace("{", "").replace("}", "")) == 0, text
        assert unknown_numbers(text, Source([text]).numbers) == unknown_names(text, Source([text]).beginnings) == 0, text


def test_a_shared_run_is_as_long_as_it_is() -> None:
    assert longest_copy(["x", "a", "b", "c", "d", "e", "y", "a", "b", "c", "d"], pieces(["a", "b", "c", "d", "e"])) == 5
    assert longest_copy(["a", "b", "c"], pieces(["a", "b", "c", "d"])) == 0
