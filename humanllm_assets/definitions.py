"""The code location that Dagster loads: the definitions of the profile that HUMANLLM_PROFILE names (default: local)."""

from humanllm_assets.orchestration.build import build_definitions
from resources.profile import load_profile

defs = build_definitions(load_profile())
