"""Prompts: loading and rendering templates, counting and cutting by tokens. Science: part of the identity of what asks."""
