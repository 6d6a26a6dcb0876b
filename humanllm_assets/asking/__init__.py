"""The one way in which stages put questions to a model, and what of a question is identity."""
