"""Job `evaluate_models`: materialize the asset `model_evaluation` (assets/evaluation.py). Also a command."""

import dagster as dg

from assets.evaluation import model_evaluation
from orchestration.authoring import described

evaluate_models = dg.define_asset_job(
    "evaluate_models",
    selection=[model_evaluation],
    description="Ask the golden set of the model that answers now, and compare with its former version.",
    executor_def=dg.in_process_executor,
    metadata=described(hidden=True, allowed="admin", effect="read", description_zh="评测当前回答的模型"),
)
