"""Source files: their layouts, what they hold, and how their fields become records."""
