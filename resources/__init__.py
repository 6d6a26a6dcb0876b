"""What assets talk to: profiles, models, engine and servers, journal, prompts, training processes. Knows no asset."""
