"""What would run, what it costs and in which order; knows no Dagster."""
