"""What an auditor asks of snapshots and manifests alone; one module per question, see `humanllm_assets/lineage/__init__.py`."""
