"""After a switch of models the new one is examined, once.

Off until it is turned on in the Dagster UI: an evaluation takes a minute or two of the model's time.
"""

import dagster as dg

from assets.golden import Examinee, golden
from orchestration.jobs.evaluation import evaluate_models


@dg.sensor(
    name="new_model_version",
    job=evaluate_models,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Evaluates a model version once, when it begins to answer.",
)
def new_model_version(examinee: dg.ResourceParam[Examinee]) -> dg.RunRequest:
    """Ask for one run per version: Dagster knows the key of those that it has started."""
    fingerprint = examinee.version()["fingerprint"]
    return dg.RunRequest(run_key=f"{fingerprint}-{golden().digest}", tags={"runbell/trigger": "sensor"})
