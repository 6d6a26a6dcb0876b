"""Which records stay, and in what words: rules, then a model that rewrites and labels."""
