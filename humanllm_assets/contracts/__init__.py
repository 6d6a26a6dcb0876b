"""Contracts: thresholds as Great Expectations suites, one YAML file per kind of asset, and what runs them over a written snapshot."""
