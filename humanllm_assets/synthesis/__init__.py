"""Synthesis after Lewin's B = f(P, E): users (P1-P5), scenarios (E1), social questions (B1)."""
