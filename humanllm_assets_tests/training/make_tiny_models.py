"""Writes `base` and `tuned`, two tiny random Llama-like models with a tokenizer of their own, below the folder given.

A process of its own, so that torch never loads into the test process: `python make_tiny_models.py <folder>`.
"""

import sys
from pathlib import Path

import torch  # noqa: TID253
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast  # noqa: TID253

TEXTS = [
    "The morning train was late again, so I wrote this entry on the platform.",
    "You are given a persona. Write what this person would say next, in about 20 words.",
    "My neighbour grows tomatoes on the roof; they taste of rain and patience.",
]
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
PADDED_VOCABULARY = 384  # more rows than the tokenizer has tokens, as real models have


def tokenizer() -> PreTrainedTokenizerFast:
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=340,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(TEXTS, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    fast.chat_template = CHATML
    return fast


def main(folder: Path) -> None:
    for name, seed in (("base", 1), ("tuned", 2)):
        torch.manual_seed(seed)
        config = LlamaConfig(
            vocab_size=PADDED_VOCABULARY,
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=512,
            tie_word_embeddings=True,
            eos_token_id=2,
            bos_token_id=0,
        )
        LlamaForCausalLM(config).bfloat16().save_pretrained(folder / name)
        tokenizer().save_pretrained(folder / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
