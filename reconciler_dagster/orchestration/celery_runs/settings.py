"""What launcher and workers agree on."""

from __future__ import annotations

from typing import Any

# Longer than a run may take (run_monitoring in dagster.yaml): a task that is handed out once more
# while it is still at work would find its run there, and leave it alone.
_HANDED_OUT_AGAIN_SECONDS = 5 * 3600

CONFIG: dict[str, Any] = {
    # A task is taken off the queue once it is done: what dies with its process is handed out again,
    # and finds how far its run has come.
    "task_acks_late": True,
    "task_reject_on_worker_lost": True,
    "task_time_limit": 4 * 3600 + 600,
    "worker_prefetch_multiplier": 1,
    # The memory of a process that has done many large runs goes back to the machine.
    "worker_max_tasks_per_child": 200,
    "worker_proc_alive_timeout": 60,
    "worker_hijack_root_logger": False,
    "worker_redirect_stdouts": False,
    "broker_connection_retry_on_startup": True,
    # A run goes on when Redis goes away: it needs Postgres and Airtable alone. So does its worker
    # (see `broker`), which connects again for as long as it takes.
    "broker_connection_max_retries": None,
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    "result_expires": 3600,
    "broker_transport_options": {
        "visibility_timeout": _HANDED_OUT_AGAIN_SECONDS,
        # The queues of a worker in the order in which they are named: manual syncs go first.
        "queue_order_strategy": "priority",
        "max_retries": 3,
        "interval_start": 0,
        "interval_step": 0.2,
        "interval_max": 0.5,
        "socket_timeout": 10,
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
        "health_check_interval": 15,
    },
}
