"""Reads a dashboard (the argument) into Grafana's own model and writes it again, and prints the differences.

The model is the package grafana-foundation-sdk, with Grafana's built-in panels and data sources. Its output omits everything that it does
not know: a misspelt key, or an option of another kind of panel.
"""

import json
import sys

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard


def differences(ours, back, path):
    if isinstance(ours, dict) and isinstance(back, dict):
        for key, value in ours.items():
            if key in back:
                yield from differences(value, back[key], f"{path}.{key}")
            else:
                yield f"{path}.{key} is unknown"
    elif isinstance(ours, list) and isinstance(back, list) and len(ours) == len(back):
        for index, (value, other) in enumerate(zip(ours, back)):
            yield from differences(value, other, f"{path}[{index}]")
    elif ours != back:
        yield f"{path} is {ours!r} and came back as {back!r}"


register_default_plugins()
with open(sys.argv[1], encoding="utf-8") as file:
    dashboard = json.load(file)
written = json.loads(JSONEncoder().encode(Dashboard.from_json(dashboard)))
for difference in differences(dashboard, written, "dashboard"):
    print(difference)
