"""For one machine without containers: a unit for each role."""

from __future__ import annotations

from reconciler_dagster.deploying.roles import ROLES

# With RECONCILER_RUN_LAUNCHER=here the daemon's host executes the runs: no worker, no broker, and
# webserver and daemon load the definitions themselves.
ON_ONE_MACHINE = ("webserver", "daemon", "listener", "portal")
_HARDENED = """\
NoNewPrivileges=yes
PrivateTmp=yes
ProtectSystem=strict
ProtectHome=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
RestrictSUIDSGID=yes
LockPersonality=yes
"""


def units(program: str, environment_file: str) -> dict[str, str]:
    """By file name. ``program``: the path of `reconciler`."""
    wanted = " ".join(f"reconciler-{role}.service" for role in ON_ONE_MACHINE)
    target = (
        f"[Unit]\nDescription=Reconciler\nWants={wanted}\n\n[Install]\nWantedBy=multi-user.target\n"
    )
    found = {
        f"reconciler-{role}.service": _unit(role, program, environment_file)
        for role in ON_ONE_MACHINE
    }
    return {"reconciler.target": target, **found}


def _unit(role: str, program: str, environment_file: str) -> str:
    host = " --host 127.0.0.1" if ROLES[role].port else ""
    return f"""\
[Unit]
Description=Reconciler: {ROLES[role].what}
PartOf=reconciler.target
After=network-online.target postgresql.service
Wants=network-online.target

[Service]
User=reconciler
EnvironmentFile={environment_file}
Environment=RECONCILER_STATE_DIR=/var/lib/reconciler
StateDirectory=reconciler
ExecStart={program} serve {role}{host}
Restart=always
RestartSec=5
# A run that was forked here ends its part within a minute.
TimeoutStopSec=90
{_HARDENED}
[Install]
WantedBy=reconciler.target
"""
