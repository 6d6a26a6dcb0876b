"""DeepSpeed's JSON: optimizer, precision and division of the optimizer's state, which decide the weights that come out."""

from __future__ import annotations

from typing import Any

from resources.profile import Hyperparameters, Launch


def deepspeed_config(launch: Launch, hyper: Hyperparameters) -> dict[str, Any]:
    """DeepSpeed's JSON. `auto` fields are filled by transformers from its training arguments.

    The optimizer is torch's AdamW, so that nothing is compiled; only an optimizer offloaded to the CPU is DeepSpeed's own.
    """
    # In bf16, stage 0's optimizer left a float32 run by 0.02 nats within six steps, stages 1 to 3 by 0.001: 1 stands in for 0.
    stage = 1 if launch.zero_stage == 0 and hyper.dtype == "bfloat16" else launch.zero_stage
    zero: dict[str, Any] = {"stage": stage}
    if launch.zero_stage == 3:
        zero["stage3_gather_16bit_weights_on_model_save"] = True
    if launch.offload_optimizer:
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": True}
    config: dict[str, Any] = {
        "train_batch_size": "auto",
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
        "bf16": {"enabled": hyper.dtype == "bfloat16"},
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "steps_per_print": 1_000_000_000,
    }
    if launch.offload_optimizer:
        config["optimizer"] = {"type": "AdamW", "params": {"lr": "auto", "betas": "auto", "eps": "auto", "weight_decay": "auto"}}
    return config
