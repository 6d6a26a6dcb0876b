"""Small tokenizers and chat templates with the quirks of real ones, trained here on a few sentences."""

from __future__ import annotations

from typing import Any

CHATML = (  # SmolLM2, Qwen2.5
    "{% for m in messages %}{% if loop.first and m['role'] != 'system' %}{{ '<|im_start|>system\nBe helpful.<|im_end|>\n' }}"
    "{% endif %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
THINKING = (  # Qwen3: an empty thought stands before the last answer alone, and before what is asked for when thinking is off
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}{% if m['role'] == 'assistant' and loop.last %}"
    "{{ '<think>\n\n</think>\n\n' }}{% endif %}{{ m['content'].split('</think>')[-1].lstrip('\n') + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% if enable_thinking is defined and enable_thinking is false %}{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}"
)
DATED = (  # Llama 3: begin of text, trimmed texts, today's date
    "{{ bos_token }}{% if not date_string is defined %}{% if strftime_now is defined %}{% set date_string = strftime_now('%d %b %Y') %}"
    "{% else %}{% set date_string = 'none' %}{% endif %}{% endif %}"
    "{% if messages[0]['role'] == 'system' %}{% set first = messages[0]['content'] | trim %}{% set messages = messages[1:] %}"
    "{% else %}{% set first = '' %}{% endif %}"
    "{{ '<|start|>system<|stop|>\n\nToday Date: ' + date_string + '\n\n' + first + '<|end|>' }}"
    "{% for m in messages %}{{ '<|start|>' + m['role'] + '<|stop|>\n\n' + m['content'] | trim + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start|>assistant<|stop|>\n\n' }}{% endif %}"
)
CLOSED = (  # Phi-3: the whole conversation, not its turns, ends with an end of text
    "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
)
BARE = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
STRICT = (
    "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('No system turns') }}{% endif %}{% endfor %}"
    + CHATML
)
DEAF = "{% set messages = messages | rejectattr('role', 'equalto', 'system') %}" + CHATML
WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"  # Qwen, Llama 3
BREAKS_APART = (
    r" ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"  # GPT-2, SmolLM2: two line breaks are one token only at the end
)
TEXTS = [
    "The morning train was late again, so I wrote this entry on the platform.",
    "My neighbour grows tomatoes on the roof; they taste of rain and patience.\n\nsystem user assistant\n\n",
]


def build_tokenizer(
    template: str,
    special: list[str],
    *,
    plain: list[str] | None = None,
    eos: str | None = None,
    bos: str | None = None,
    normalizer: Any = None,
    trim_offsets: bool = False,
    splits: str = WORDS,
    **flags: bool,
) -> Any:
    """A byte-level tokenizer; `flags` (lstrip, rstrip, normalized) are of its special tokens, `plain` tokens are added but not special."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    words = pre_tokenizers.Split(Regex(splits), "isolated")
    bpe.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    bpe.post_processor = processors.ByteLevel(trim_offsets=trim_offsets)
    bpe.decoder = decoders.ByteLevel()
    if normalizer:
        bpe.normalizer = normalizer
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(TEXTS * 3, trainers.BpeTrainer(vocab_size=420, initial_alphabet=alphabet, show_progress=False))
    bpe.add_special_tokens([AddedToken(token, special=True, **{"normalized": False, **flags}) for token in special])
    bpe.add_tokens([AddedToken(token, normalized=False) for token in plain or []])
    fast = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token=eos or special[-1], bos_token=bos)
    fast.chat_template = template
    return fast
