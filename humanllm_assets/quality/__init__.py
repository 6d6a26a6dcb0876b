"""Quality control (Q1-Q4): a judge scores every synthesized item."""
