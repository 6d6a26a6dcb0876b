"""What deletes: takedown of a user, collection of garbage, scrubbing of ids from text."""
