"""Source files as they came (S1-S5): finding, telling and reading them; a source's layouts are `FILES` of the module of its name."""
