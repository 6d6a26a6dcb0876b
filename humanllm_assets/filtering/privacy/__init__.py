"""What in a text belongs to a private person, and what stands in its place (F5): one detector for titles, contexts and texts.

`items.py` is what all finders share; `emails.py`, `phones.py`, `checked_forms.py` and `plain_forms.py` each find some kinds;
`finding.py` puts them in order and tells whether an item of one text still stands in another one; `masking.py` replaces. What does
not belong here: rewriting and dropping records (`filtering/rewriting.py`).
"""
