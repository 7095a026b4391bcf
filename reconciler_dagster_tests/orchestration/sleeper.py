"""A code location for the launcher's tests: one job that runs until a file appears."""

import time
from pathlib import Path

import dagster as dg


@dg.op(config_schema={"until": str})
def wait_for_file(context: dg.OpExecutionContext) -> None:
    while not Path(context.op_config["until"]).exists():
        time.sleep(0.05)


@dg.job(executor_def=dg.in_process_executor)
def sleeper() -> None:
    wait_for_file()


defs = dg.Definitions(jobs=[sleeper])
