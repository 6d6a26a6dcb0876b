"""Filters: the rules of each source, Amazon's core, rewriting and labels (F1-F6)."""
