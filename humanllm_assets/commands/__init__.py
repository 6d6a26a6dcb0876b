"""What each verb of the command line does; `humanllm_assets/cli.py` reads the arguments."""
