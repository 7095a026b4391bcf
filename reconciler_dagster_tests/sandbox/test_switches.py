"""The switches: documented, accepted by the command line, refused with a sentence."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

from reconciler_dagster.sandbox.command import sandbox as command
from reconciler_dagster.sandbox.start import open_world
from reconciler_dagster.sandbox.switches import Switches
from reconciler_dagster.sandbox.testing import SandboxClient, running_sandbox

DOCS = Path(__file__).parents[2] / "docs" / "sandbox.md"


class Documented(NamedTuple):
    """A row of the table of switches."""

    name: str
    default: str
    description: str

    @property
    def values(self) -> list[str]:
        """The default, and what else the row names."""
        return [self.default, *re.findall(r"`([^`]+)`", self.description.partition(" (")[2])]


def _documented() -> list[Documented]:
    section = DOCS.read_text(encoding="utf-8").partition("### §13 Switches")[2]
    return [
        Documented(*row) for row in re.findall(r"^\| `(\w+)` \| (\S+) \| (.*) \|$", section, re.M)
    ]


def test_every_switch_is_documented_with_its_default() -> None:
    rows = {row.name: row for row in _documented()}
    assert rows.keys() == Switches.model_fields.keys()
    for name, field in Switches.model_fields.items():
        default = "none" if field.default is None else str(field.default)
        assert (name, rows[name].default) == (name, default)
        assert rows[name].description.startswith(str(field.description))


def test_the_command_line_accepts_what_is_documented(tmp_path: Path) -> None:
    # The state file is opened after the switches are read, so that no server has to start.
    wrong = tmp_path / "wrong"
    wrong.write_text("not a database, but long enough to look at" * 50)
    rows = _documented()
    for value in range(max(len(row.values) for row in rows)):
        options = ["--state", str(wrong)]
        for row in rows:
            options += ["--switch", f"{row.name}={row.values[min(value, len(row.values) - 1)]}"]
        output = CliRunner().invoke(command, options).output
        assert "file is not a database" in output, output


def test_what_is_set_by_text_is_what_the_text_says() -> None:
    given = {
        "missing_record": "404",
        "long_url_status": "414",
        "time_resolution_ms": "1",
        "monthly_cap": "none",
        "lockout_seconds": "0.5",
        "retry_after": "True",
        "window": "fixed",
    }
    switches = open_world((), 0, 1, [], switches=given).switches
    assert {name: getattr(switches, name) for name in given} == {
        "missing_record": 404,
        "long_url_status": 414,
        "time_resolution_ms": 1,
        "monthly_cap": None,
        "lockout_seconds": 0.5,
        "retry_after": True,
        "window": "fixed",
    }


@pytest.mark.parametrize(
    ("switch", "told"),
    [
        ("nonsense=1", "There is no switch 'nonsense'"),
        ("nonsense", "takes NAME=VALUE"),
        ("missing_record=500", "The switch missing_record cannot be '500': Input should be 403"),
        ("largest_page=many", "The switch largest_page cannot be 'many'"),
    ],
)
def test_what_cannot_be_set_is_told_in_a_sentence(switch: str, told: str) -> None:
    done = CliRunner().invoke(command, ["--switch", switch])
    assert done.exit_code == 2
    assert told in " ".join(done.output.split())
    assert "pydantic" not in done.output


@pytest.mark.parametrize("values", [{"window": "fixed", "burst": -1}, {"window": "fixed", "no": 1}])
def test_a_refused_change_changes_nothing(sandbox: SandboxClient, values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="422"):
        sandbox.switch(**values)
    assert sandbox.switches()["window"] == "sliding"


def test_the_arguments_of_a_test_are_switches() -> None:
    with (
        pytest.raises(ValueError, match="There is no switch 'nonsense'"),
        running_sandbox(nonsense=1),
    ):
        pass
