"""The dashboard's picture, drawn from a Prometheus that has looked at a running portal.

    python scripts/draw_dashboard.py [--prometheus URL] [--minutes 30] [--into FOLDER]

Not Grafana: the panels of monitoring/grafana.json, each with the answers to its own expressions.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import time
from html import escape
from pathlib import Path
from typing import Any

import click
import requests
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parent.parent
COLORS = ("#56a64b", "#3274d9", "#e0b400", "#e24d42", "#8f3bb8", "#ff780a", "#37872d", "#a352cc")
CELL_HEIGHT, POINTS = 30, 240
STYLE = """
body { margin: 0; padding: 12px; background: #f4f5f5; font: 12px sans-serif; color: #24292e; }
main { display: grid; grid-template-columns: repeat(24, 1fr); gap: 8px; }
section { background: #fff; border: 1px solid #dce1e6; padding: 6px 10px; overflow: hidden;
  display: flex; flex-direction: column; }
h2 { font-size: 12px; margin: 0 0 4px; } strong { font-size: 34px; margin: auto; }
.red { color: #e24d42; } .green { color: #37872d; } svg { flex: 1; min-height: 0; width: 100%; }
p { margin: 2px 0 0; } i { display: inline-block; width: 14px; height: 3px; margin: 3px 4px; }
"""

Series = tuple[str, list[tuple[float, float]]]


def asked(prometheus: str, panel: dict[str, Any], minutes: float) -> list[Series]:
    """What the panel's expressions give, each series with its legend."""
    end, found = time.time(), []
    for target in panel["targets"]:
        answer = requests.get(
            f"{prometheus}/api/v1/query_range",
            params={
                "query": target["expr"].replace("$client", ".+"),
                "start": end - 60 * minutes,
                "end": end,
                "step": 60 * minutes / POINTS,
            },
            timeout=30,
        ).json()
        for series in answer["data"]["result"]:
            labels, legend = series["metric"], target["legendFormat"]
            name = re.sub(r"{{(\w+)}}", lambda m, own=labels: own.get(m[1], ""), legend)
            values = [(float(at), float(value)) for at, value in series["values"]]
            found.append((name, [(at, value) for at, value in values if value == value]))
    return [(name, points) for name, points in found if points]


def said(value: float, unit: str) -> str:
    if unit != "s":
        return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"
    for size, word in ((86400, "d"), (3600, "h"), (60, "min")):
        if value >= 2 * size:
            return f"{value / size:.1f} {word}"
    return f"{value:.3g} s"


def drawn(panel: dict[str, Any], series: list[Series], minutes: float) -> str:
    own = panel["fieldConfig"]["defaults"]
    unit, red = own["unit"], own["thresholds"]["steps"][-1]["value"]
    if not series:
        return "<strong>no data</strong>"
    if panel["type"] == "stat":
        value = series[0][1][-1][1]
        color = "red" if red is not None and value >= red else "green"
        return f'<strong class="{color}">{said(value, unit)}</strong>'
    top = max(max(value for _, value in points) for _, points in series) or 1.0
    began = time.time() - 60 * minutes
    lines, legend = "", ""
    for number, (name, points) in enumerate(series):
        color = COLORS[number % len(COLORS)]
        path = " ".join(
            f"{(at - began) / (60 * minutes) * 1000:.1f},{200 - value / top * 190:.1f}"
            for at, value in points
        )
        lines += f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.5" '
        lines += 'vector-effect="non-scaling-stroke"/>'
        legend += f'<i style="background:{color}"></i>{escape(name)} '
    graph = f'<svg viewBox="0 0 1000 200" preserveAspectRatio="none">{lines}</svg>'
    return f"{graph}<p>0 to {said(top, unit)}, last {minutes:.0f} min &nbsp; {legend}</p>"


def page(prometheus: str, minutes: float) -> str:
    parts = []
    for panel in json.loads((ROOT / "monitoring" / "grafana.json").read_text())["panels"]:
        place = panel["gridPos"]
        style = f"grid-column: {place['x'] + 1} / span {place['w']}; "
        style += f"grid-row: {place['y'] + 1} / span {place['h']}"
        content = drawn(panel, asked(prometheus, panel, minutes), minutes)
        parts.append(
            f'<section style="{style}"><h2>{escape(panel["title"])}</h2>{content}</section>'
        )
    rows = f"main {{ grid-auto-rows: {CELL_HEIGHT}px; }}"
    return f"<!doctype html><style>{STYLE}{rows}</style><main>{''.join(parts)}</main>"


@click.command(help=__doc__)
@click.option("--prometheus", default="http://127.0.0.1:9090", show_default=True)
@click.option("--minutes", default=30.0, show_default=True)
@click.option("--into", type=click.Path(path_type=Path), default=ROOT / "docs" / "images")
def main(prometheus: str, minutes: float, into: Path) -> None:
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        sys.exit("No Chromium found: set CHROMIUM to its path.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        shown = browser.new_page(viewport={"width": 1440, "height": 900})
        shown.set_content(page(prometheus, minutes))
        shown.screenshot(path=into / "dashboard.png", full_page=True)
        browser.close()
    click.echo(into / "dashboard.png")


if __name__ == "__main__":
    main()
