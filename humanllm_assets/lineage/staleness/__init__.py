"""Which partitions are stale, why, and what refuses to run on them."""
