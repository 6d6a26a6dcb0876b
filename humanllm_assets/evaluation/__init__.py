"""Evaluation (V1-V6): contestants, benchmarks and their items, scores, and the two reports."""
