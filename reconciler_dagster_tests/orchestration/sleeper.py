"""A code location for the launcher's tests: one job that runs until a file appears."""

import os
import time
from pathlib import Path

import dagster as dg

# Whatever a run leaves behind in its process.
LEFT_BEHIND: list[str] = []


@dg.op(config_schema={"until": str})
def wait_for_file(context: dg.OpExecutionContext) -> None:
    context.log.info(f"left behind: {LEFT_BEHIND}, greeting: {os.environ.get('GREETING')}")
    LEFT_BEHIND.append(context.run_id)
    while not Path(context.op_config["until"]).exists():
        time.sleep(0.05)


@dg.job(executor_def=dg.in_process_executor)
def sleeper() -> None:
    wait_for_file()


defs = dg.Definitions(jobs=[sleeper])
