"""What Dagster should know of this code location: jobs in Python, and the workflows in `flows/`."""

from pathlib import Path

import dagster as dg

from examples.health import health
from examples.sales import sales
from examples.summary import summary
from orchestration.flows import load_flows

# The workflows bring the platform's objects with them (`models` and others), which jobs in Python may ask for, too.
defs = dg.Definitions.merge(dg.Definitions(jobs=[health, sales, summary]), load_flows(Path(__file__).parent / "flows"))
