"""Control tokens spelled out in texts: the marks by which a model's chat format tells its turns, such as `<|im_end|>`.

A tokenizer reads such a spelling as the mark itself, wherever it stands: a record could end its own turn and open a system turn,
in a request and in a training sample alike. Texts are therefore broken up by a blank behind the first character, which leaves them
readable. What servers are asked is broken by the forms of all known model families, so that a question's key depends on no file of
the model; what is trained, by the tokenizer's own special tokens too.
"""

from __future__ import annotations

import re
from collections.abc import Collection

_FORMS = re.compile(
    r"<\|[^\s<>|]{1,64}\|>"  # Qwen, Llama 3, Phi, GLM, gpt-oss, Command R
    r"|<｜[^\s<>｜]{1,64}｜>"  # DeepSeek
    r"|</?s>|<</?sys>>|<(?:bos|eos|pad|unk|mask|cls|sep|sop|eop|[be]os_token)>"  # Llama 2, Mistral, Gemma
    r"|<(?:start|end|begin)_of_[a-z]{1,32}>|<(?:unused|extra_id_)\d{1,4}>"
    r"|</?(?:think|tools?|tool_(?:call|response)s?)>"
    r"|\[/?(?:inst|system_prompt|available_tools|tool_calls|tool_results|tool_content|think)\]"
    r"|\[(?:g?mask|smask|cls|sep|pad|unk)\]",
    re.IGNORECASE,
)


def break_control_tokens(text: str, tokens: Collection[str] = ()) -> str:
    """The text with every control token of a known form, and every one of `tokens`, broken up by a blank."""
    if "<" not in text and "[" not in text and not tokens:
        return text
    own = "|".join(re.escape(token) for token in sorted(tokens, key=len, reverse=True) if len(token) > 1 and token.strip())
    for form in [_FORMS, *([re.compile(own)] if own else [])]:
        while (broken := form.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)) != text:
            text = broken  # again: one may have stood inside another
    return text
