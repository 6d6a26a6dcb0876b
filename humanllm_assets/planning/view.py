"""How a plan is shown: for a terminal of 80 columns, as Markdown in the UI, as data for programs.

What belongs here: layout. What does not: what is stale (`lineage/staleness/`) and what it costs (`forecast.py`).
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

from humanllm_assets.pages.markdown import escape_markdown
from humanllm_assets.planning.forecast import Forecast
from humanllm_assets.planning.refresh_plan import Plan, sum_forecasts

WIDTH = 80
_NAME = 41  # columns of a partition's name
_SHOWN = 4  # reasons; the rest is in --json


def as_json(plan: Plan) -> dict[str, Any]:
    """The whole plan as plain data."""
    return {
        "profile": plan.profile,
        "targets": list(plan.names),
        "looked_at": plan.looked_at,
        "stale": [
            {
                "asset": s.asset,
                "partition": s.partition,
                "layer": s.layer,
                "reasons": list(s.reasons),
                "changes": [asdict(c) for c in s.changes],
                "follows": [parent._asdict() for parent in s.follows],
                "forecast": asdict(f) if f else None,
            }
            for s, f in plan.items
        ],
        "no_longer_in_profile": [item._asdict() for item in plan.removed],
        "totals": sum_forecasts(plan.forecasts()),
        "next": plan.command() if plan.items else None,
    }


# ---- text ------------------------------------------------------------------------------------------------------------


def _number(value: float | None, exact: bool) -> str:
    """`12`, `~12`, `~3.1k`, `~1.2M`, `?`."""
    if value is None:
        return "?"
    if value < 10_000:
        text = f"{value:,.0f}"
    else:
        text = f"{value / 1e3:,.0f}k" if value < 1e6 else f"{value / 1e6:,.1f}M" if value < 1e9 else f"{value / 1e9:,.1f}G"
    return text if exact else f"~{text}"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    if not seconds:
        return "0"
    if seconds < 90:
        return f"~{max(seconds, 1):.0f}s"
    return f"~{seconds / 60:.0f}m" if seconds < 5400 else f"~{seconds / 3600:,.1f}h"


def _money(cost: float | None) -> str:
    return "?" if cost is None else "0" if not cost else f"~{cost:,.2f}" if cost >= 0.01 else "<0.01"


def _tokens(f: Forecast) -> float | None:
    return None if f.input_tokens is None or f.output_tokens is None else f.input_tokens + f.output_tokens


def _cells(f: Forecast | None) -> list[str]:
    """LLM calls, answers in the journal, tokens, model time, cost."""
    if f is None:
        return [""] * 5
    tokens = _number(_tokens(f), exact=not f.calls)
    return [_number(f.calls, f.exact), _number(f.journal_hits, f.exact), tokens, _time(f.seconds), _money(f.cost)]


def _row(name: str, cells: Sequence[str], priced: bool) -> Iterator[str]:
    shown = cells if priced else cells[:4]
    numbers = "".join(f"{c:>{w}}" for c, w in zip(shown, (9, 9, 8, 7, 6), strict=False))
    if len(name) > _NAME and numbers.strip():
        yield name
        name = ""
    yield f"{name:<{_NAME}}{numbers}".rstrip()


def _wrapped(text: str, indent: int) -> Iterator[str]:
    yield from textwrap.wrap(
        text, WIDTH, initial_indent=" " * indent, subsequent_indent=" " * (indent + 2), break_on_hyphens=False
    )


def _why(reasons: Sequence[str], notes: Sequence[str]) -> Iterator[str]:
    for reason in reasons[:_SHOWN]:
        yield from _wrapped(reason, 4)
    if reasons[_SHOWN:]:
        yield f"    and {len(reasons) - _SHOWN} more (all with --json)"
    for note in notes:
        yield from _wrapped(f"({note})", 4)


def as_text(plan: Plan) -> str:
    """Lines of at most 80 columns (a longer name or word is not broken)."""
    return "\n".join(_lines(plan))


def _lines(plan: Plan) -> Iterator[str]:
    head = ("LLM calls", "journal", "tokens", "time", "cost")
    for layer, items in groupby(sorted(plan.items, key=lambda i: i[0].layer), key=lambda i: i[0].layer):
        title = "layer 1, can run now" if layer == 1 else f"layer {layer}"
        yield from _row(title, head if layer == 1 else [""] * 5, plan.priced)
        for reasons, group in groupby(items, key=lambda i: (i[0].asset, i[0].reasons)):
            notes = []
            for s, f in group:
                yield from _row(f"  {s.item}", _cells(f), plan.priced)
                notes += [f.note] if f and f.note and f.note not in notes else []
            yield from _why(reasons[1], notes)
        yield ""
    if plan.removed:
        yield "no longer in the profile, but still published (humanllm gc removes them):"
        yield from (f"  {item}" for item in plan.removed)
        yield ""
    if not plan.items:
        yield f"everything is up to date ({plan.looked_at} partitions)"
        return
    yield from _ending(plan)


def _ending(plan: Plan) -> Iterator[str]:
    sums, own = sum_forecasts(plan.forecasts()), sum(s.certain for s, _ in plan.items)
    follow = len(plan.items) - own
    counted = f"{len(plan.items)} of {plan.looked_at} partitions are stale: {own} by themselves"
    if follow:
        counted += f", {follow} because they follow (one whose parents turn out equal will not run)"
    yield from textwrap.wrap(counted, WIDTH)
    if plan.forecasts():
        tokens = sums["input_tokens"] + sums["output_tokens"]
        parts = [f"{_number(sums['calls'], sums['exact'])} calls"] if sums["calls"] or not sums["unknown"] else []
        if sums["calls"] and not sums["exact"]:
            parts[0] += f" ({sums['certain']:,} of them certain)"
        if sums["journal_hits"]:
            parts.append(f"{_number(sums['journal_hits'], sums['exact'])} answers from the journal")
        if tokens:
            parts += [f"{_number(tokens, False)} tokens", f"{_time(sums['seconds'])} of model time"]
            parts += [f"cost {_money(sums['cost'])}"] if plan.priced else []
        if sums["unknown"]:
            parts.append(f"? for {sums['unknown']} partitions, of whose kind none ever ran")
        yield from textwrap.wrap("models: " + ", ".join(parts), WIDTH)
        if tokens or (sums["calls"] and not sums["exact"]):
            yield "~ = estimated from earlier runs, changed inputs taken as all new"
    yield f"next: {plan.command()}"


def as_markdown(plan: Plan) -> str:
    """A table for the UI."""
    if not plan.items:
        return f"Everything is up to date ({plan.looked_at} partitions)."
    lines = ["| partition | why | LLM calls | journal | tokens | time | cost |", "|---|---|--:|--:|--:|--:|--:|"]
    for s, f in plan.items:
        why = escape_markdown("; ".join(s.reasons[:_SHOWN]))
        lines.append(f"| {str(s.item).replace('|', chr(92) + '|')} | {why} | {' | '.join(_cells(f))} |")
    sums = sum_forecasts(plan.forecasts())
    lines += [
        "",
        f"{len(plan.items)} partitions, {_number(sums['calls'], sums['exact'])} LLM calls, cost {_money(sums['cost'])}.",
    ]
    if plan.removed:
        lines += ["", "No longer in the profile: " + ", ".join(map(str, plan.removed))]
    return "\n".join(lines)
