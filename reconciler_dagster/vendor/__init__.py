"""JavaScript of others for the pages, one copy each; README.md names versions and licences."""

from pathlib import Path

_HERE = Path(__file__).parent

AG_GRID = _HERE / "ag_grid"
HTMX = _HERE / "htmx"
SWAGGER_UI = _HERE / "swagger_ui"
