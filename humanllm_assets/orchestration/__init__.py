"""Everything that knows Dagster: nodes as assets, checks, metadata, the job, the sensor, the instance."""
