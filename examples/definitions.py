"""What Dagster should know of this code location."""

import dagster as dg

from examples.health import health
from examples.sales import sales
from examples.summary import summary
from serving.client import ServeModels

defs = dg.Definitions(jobs=[health, sales, summary], resources={"models": ServeModels()})
