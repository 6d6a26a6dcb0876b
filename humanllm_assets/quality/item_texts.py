"""The text of an item as whoever scores it sees it, a judge model or a person: one query per table of items.

The tables are the `items` of user_profiles, scenarios and social_qa. Each query gives item_id, item_kind, user_id, record_id, text
and record_ids, one row per item.
"""

from __future__ import annotations

ITEM_TEXTS = {
    "profile_items": "select item_id, kind as item_kind, user_id, null as record_id, text, record_ids from profile_items",
    "scenario_items": """
        select item_id, 'scenario' as item_kind, user_id, record_id,
               'Background: ' || background || '\n\nCharacters: ' || characters || '\n\nPlots: ' || plots as text,
               [record_id] as record_ids
        from scenario_items""",
    "qa_items": """
        select item_id, 'qa' as item_kind, user_id, record_id,
               'Scenario: ' || scenario || '\n\nQuestion: ' || question || '\n\nAnswer: ' || answer as text,
               [record_id] as record_ids
        from qa_items""",
}
ITEM_ASSETS = {"profile_items": "user_profiles", "scenario_items": "scenarios", "qa_items": "social_qa"}
"""Which asset's `items` each of the tables holds."""
