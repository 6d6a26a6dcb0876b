"""Entry of one training process, started by DeepSpeed's launcher: `python -m humanllm_assets.training.rank <config.json>`.

Light until it calls the training: first it makes sure that it dies with its launcher, then it loads the heavy libraries, and an
error is written down for `training_failure` of `resources/training.py` before it ends the process.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from resources.errors import Explained
from resources.profile import Launch
from resources.training import Work, die_with_launcher, rank_environment, record_process, write_json


def main() -> None:
    """Train one rank in the work folder that holds the argument's `config.json`; returns at once when the work is finished.

    An error is written to that folder and then raised.
    """
    work = Work(Path(sys.argv[1]).resolve().parent)
    rank = int(os.environ.get("RANK", "0"))
    die_with_launcher()
    if work.finished():
        return
    record_process(work, rank)
    try:
        os.environ.update(rank_environment(Launch.model_validate(work.settings()["launch"])))
        from humanllm_assets.training.sft import train

        train(work)
    except BaseException as e:
        text = " ".join(str(e).split())[:500]
        error = text if isinstance(e, Explained) else f"{type(e).__name__}: {text}"
        write_json(work.failure(rank), {"rank": rank, "time": time.time(), "error": error})
        raise


if __name__ == "__main__":
    main()
