"""The files of a deployment: whole, alike, and without secrets."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from reconciler_dagster.cli.deploy import deploy
from reconciler_dagster.cli.serve import serve
from reconciler_dagster.config import PRODUCTION, Settings, project_file
from reconciler_dagster.deploying import systemd
from reconciler_dagster.deploying.kubernetes import manifests
from reconciler_dagster.deploying.roles import ROLES
from reconciler_dagster.sandbox import DEMO_TOKEN
from reconciler_dagster.syncs.reading import SHIPPED, read_folder
from scripts.image_packages import wanted

ROOT = project_file("pyproject.toml").parent
DEPLOYING = (ROOT / "docs" / "deploy.md").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = {name: s for name, s in SERVICES.items() if "reconciler" in s["image"]}
SERVED = {n: s for n, s in OURS.items() if s["command"][:2] == ["reconciler", "serve"]}
VARIABLE = re.compile(r"\$\{(\w+)(?::[-?]([^}]*))?\}")


def printed(*arguments: str) -> str:
    done = CliRunner().invoke(deploy, list(arguments))
    assert done.exit_code == 0, done.output
    return done.output


def test_compose_has_every_role_and_each_has_a_health_check() -> None:
    assert {s["command"][2] for s in SERVED.values()} == set(ROLES)
    for name, service in SERVICES.items():
        if name not in ("migrate", "demo-client"):  # they end
            assert service["healthcheck"]["test"], name


def test_what_ends_is_started_again() -> None:
    for name, service in SERVICES.items():
        again = {"migrate": "on-failure:3", "demo-client": "no"}.get(name, "unless-stopped")
        assert service["restart"] == again, name
    for name, unit in systemd.units("reconciler", "/etc/reconciler.env").items():
        assert name.endswith(".target") or "\nRestart=always\n" in unit, name


def test_what_is_not_filled_in_outdoes_nothing_in_a_cluster(tmp_path: Path) -> None:
    """The secret comes after the settings of the manifests."""
    filled = (ROOT / ".env.example").read_text().replace("DATABASE_URL=", "DATABASE_URL=here", 1)
    (tmp_path / ".env").write_text(filled)
    (line,) = re.findall(r"^    (grep .*) > kubernetes.env$", DEPLOYING, re.MULTILINE)
    done = subprocess.run(["sh", "-c", line], cwd=tmp_path, capture_output=True, check=True)
    secret = dict(kept.split("=", 1) for kept in done.stdout.decode().splitlines())
    (settings,) = [m for m in manifests("reconciler:1") if m["kind"] == "ConfigMap"]
    assert secret["DATABASE_URL"] == "here"
    assert "" not in secret.values()
    assert not set(secret) & set(settings["data"])


@pytest.mark.parametrize(
    "name", [n for n, s in OURS.items() if "healthcheck" in s and n != "sandbox"]
)
def test_a_service_is_looked_at_as_what_it_is(name: str) -> None:
    command, test = OURS[name]["command"], OURS[name]["healthcheck"]["test"]
    assert test == ["CMD", *command, "--check"]
    # And the command line takes both.
    for line in (command[2:], test[3:]):
        context = serve.make_context("serve", list(line), resilient_parsing=True)
        assert context.params["role"] == command[2]


@pytest.mark.parametrize("name", OURS)
def test_every_container_of_ours_is_locked_in(name: str) -> None:
    service = OURS[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert "user" not in service, "the image's own"
    for port in service.get("ports", []):
        assert port.startswith("127.0.0.1:"), "nothing is open to the network unasked"


def test_nothing_starts_before_what_it_needs() -> None:
    for name, service in OURS.items():
        for other, how in service.get("depends_on", {}).items():
            condition = how["condition"]
            assert other in SERVICES
            has = "healthcheck" in SERVICES[other]
            assert condition == ("service_healthy" if has else "service_completed_successfully")
        if name not in ("migrate", "sandbox"):
            assert "migrate" in service["depends_on"]


def test_every_variable_of_compose_is_one_that_somebody_reads() -> None:
    known = {(f.alias or n).upper() for n, f in Settings.model_fields.items()}
    known |= {"RECONCILER_ENVIRONMENT", "RECONCILER_CODE_SERVER", "RECONCILER_WORKER_SLOTS"}
    known |= {"RECONCILER_STATE_DIR"}
    known |= {"PORTAL_JWKS_URL", "PORTAL_DEMO"}
    for service in OURS.values():
        assert set(service.get("environment", {})) <= known
    example = (ROOT / ".env.example").read_text()
    for name, _ in VARIABLE.findall((ROOT / "compose.yaml").read_text()):
        if name not in ("RECONCILER_IMAGE", "PORTAL_DEMO", "RECONCILER_WORKER_SLOTS"):
            assert f"{name}=" in example or name == "AIRTABLE_ENDPOINT_URL", name


def test_every_container_has_the_settings_of_the_file_that_a_person_fills_in() -> None:
    """Those of notices, say; what the file leaves empty outdoes nothing that the image sets."""
    example = (ROOT / ".env.example").read_text()
    empty = set(re.findall(r"^(\w+)=$", example, re.MULTILINE))
    image = set(re.findall(r"\b([A-Z_]+)=", (ROOT / "Dockerfile").read_text()))
    assert "RECONCILER_NOTIFY_SLACK_URL" in empty
    for name, service in OURS.items():
        assert service["env_file"] == [{"path": ".env", "required": False}], name
        if name in SERVED or name == "migrate":
            assert not empty & image - service["environment"].keys()


def test_the_demo_needs_nothing_to_be_filled_in() -> None:
    lines = (ROOT / "compose.demo.env").read_text().splitlines()
    demo = dict(line.split("=", 1) for line in lines if "=" in line and line[0] != "#")
    assert demo["AIRTABLE_API_KEY"] == DEMO_TOKEN
    assert demo["RECONCILER_ENVIRONMENT"] != PRODUCTION
    required = re.findall(r"\$\{(\w+):\?", (ROOT / "compose.yaml").read_text())
    assert set(required) <= set(demo)
    assert len(demo["PORTAL_JWT_SECRET"]) >= 32
    assert set(demo["RECONCILER_SYNCS"].split(", ")) == set(read_folder(SHIPPED))
    for name, service in OURS.items():
        if "DATABASE_URL" in service.get("environment", {}):
            assert "RECONCILER_SYNCS" in service["environment"], name


def test_what_listens_goes_around_the_pooler() -> None:
    for name in ("listener", "webserver", "migrate"):
        assert "@postgres:5432" in OURS[name]["environment"]["DATABASE_URL"]
    for name in ("worker", "daemon", "code", "portal"):
        assert "@pgbouncer:5432" in OURS[name]["environment"]["DATABASE_URL"]


def test_the_image_is_not_root_and_dagsters_launchers_can_use_it() -> None:
    """They start `dagster api execute_run` in it: an entry point would come before that."""
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    last = lines[max(n for n, line in enumerate(lines) if line.startswith("FROM ")) :]
    assert "USER 10001:10001" in last
    assert 'CMD ["reconciler", "serve"]' in last
    assert not any(line.startswith("ENTRYPOINT") for line in lines)
    (check,) = [line for line in last if line.startswith("HEALTHCHECK")]
    assert check.endswith('CMD ["reconciler", "serve", "--check"]')
    assert not any(re.match(r"(ARG|ENV).*(KEY|TOKEN|SECRET|PASSWORD)", line) for line in lines)


def test_the_image_is_built_of_what_the_package_needs_and_no_more() -> None:
    let_in = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    }
    pyproject = (ROOT / "pyproject.toml").read_text()
    forced = re.findall(r'^"(\S+)" = "reconciler_dagster/_project', pyproject, re.MULTILINE)
    assert {*forced, "reconciler_dagster", "pyproject.toml", "requirements.lock"} <= let_in
    assert ".env" not in let_in
    packages = " ".join(wanted(pyproject))
    assert "dagster-celery" in packages
    assert "pytest" not in packages
    assert "pixeltable" not in packages


def test_manifests_run_the_same_image_as_nobody_in_particular() -> None:
    found = list(yaml.safe_load_all(printed("manifests", "--image", "registry.example/r:1.2")))
    assert [one["kind"] for one in found] == [
        *("ConfigMap", "Job", "Deployment", "Service", "Deployment")
    ]
    for one in found:
        if one["kind"] not in ("Job", "Deployment"):
            continue
        pod = one["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert container["image"] == "registry.example/r:1.2"
        assert container["command"][0] == "reconciler"
        assert container["securityContext"]["runAsNonRoot"]
        assert container["securityContext"]["readOnlyRootFilesystem"]
        if one["kind"] == "Deployment":
            assert container["livenessProbe"]
            labels = one["spec"]["template"]["metadata"]["labels"]
            assert one["spec"]["selector"]["matchLabels"] == labels


def test_the_charts_values_have_the_projects_limits() -> None:
    values = yaml.safe_load(
        printed("helm-values", "--image", "registry.example/r:1.2", "--slots", "50")
    )
    queue = values["dagsterDaemon"]["runCoordinator"]["config"]["queuedRunCoordinator"]
    assert queue["maxConcurrentRuns"] == 50
    project = yaml.safe_load(project_file("dagster.yaml").read_text())
    limits = project["concurrency"]["runs"]["tag_concurrency_limits"]
    assert queue["tagConcurrencyLimits"][: len(limits)] == limits
    (code,) = values["dagster-user-deployments"]["deployments"]
    assert code["image"] == {
        "repository": "registry.example/r",
        "tag": "1.2",
        "pullPolicy": "IfNotPresent",
    }
    assert "reconciler_dagster.definitions" in code["dagsterApiGrpcArgs"]
    run = values["runLauncher"]["config"]["k8sRunLauncher"]["runK8sConfig"]
    assert run["containerConfig"]["securityContext"]["runAsNonRoot"]


def test_units_start_the_roles_of_one_machine(tmp_path: Path) -> None:
    printed("systemd", str(tmp_path))
    units = {path.name: path.read_text() for path in tmp_path.iterdir()}
    wanted_units = re.search(r"^Wants=(.*)$", units["reconciler.target"], re.MULTILINE)
    assert wanted_units is not None
    assert set(wanted_units[1].split()) == units.keys() - {"reconciler.target"}
    for name, unit in units.items():
        if name.endswith(".service"):
            (line,) = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
            _, command, *arguments = shlex.split(line)
            assert command == "serve"
            assert serve.make_context("serve", arguments, resilient_parsing=True)


def test_no_file_of_a_deployment_holds_a_secret() -> None:
    files = ["Dockerfile", "compose.yaml", ".env.example"]
    for name in files:
        text = (ROOT / name).read_text()
        assert not re.search(r"pat[A-Za-z0-9]{14}", text), name
    printed_ones = printed("manifests") + printed("helm-values")
    assert "password" not in printed_ones.lower()


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    try:
        subprocess.run(["systemd-analyze", "--version"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("systemd-analyze is not here")
    printed("systemd", str(tmp_path))
    done = subprocess.run(
        ["systemd-analyze", "verify", *map(str, tmp_path.glob("*.service"))],
        capture_output=True,
        text=True,
        check=False,
    )
    complaints = [line for line in done.stderr.splitlines() if str(tmp_path) in line]
    assert complaints == []
