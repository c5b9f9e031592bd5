"""Asset `model_evaluation`: how the model that answers now does on the golden set, kept for each of its versions.

Its check `no_regression` compares with the last materialization of the former version: a case that was right and is no
more fails it, and says which one.
"""

import json
from typing import cast

import dagster as dg

from assets.golden import Examinee, Mark, as_markdown, golden, judge, scores

KEY = dg.AssetKey("model_evaluation")
CHECK = "no_regression"
LOOKED_AT = 100
"""Materializations among which the former version is looked for."""


@dg.asset(
    key=KEY,
    group_name="models",
    kinds={"ai"},
    check_specs=[
        dg.AssetCheckSpec(CHECK, asset=KEY, description="No case is wrong that the former model version got right.")
    ],
    description="How the model that answers now does on the golden set (assets/golden.json).",
)
def model_evaluation(context: dg.AssetExecutionContext, examinee: dg.ResourceParam[Examinee]) -> dg.MaterializeResult:  # pyright: ignore[reportMissingTypeArgument, reportUnknownParameterType] - Dagster reads it
    """Examine it. Fails where the model can't be asked: half a set is no score."""
    wanted, version, marks = golden(), examinee.version(), list[Mark]()
    for case in wanted.cases:
        mark = judge(case, examinee.reply(case, wanted.commands), wanted.admits[case.language])
        marks.append(mark)
        context.log.info("%s: %s", case.id, mark.wrong or "right")
    found, passed = scores(marks), sorted(mark.case.id for mark in marks if mark.passed)
    check = compared(_former(context, version["fingerprint"], wanted.digest), passed, found["all"])
    return dg.MaterializeResult(
        metadata={
            **version,
            **{f"score_{group}": score for group, score in found.items()},
            "golden_set": wanted.digest,
            "passed": dg.MetadataValue.json(passed),
            "regression": not check.passed,
            "compared": check.description or "",
            "cases": dg.MetadataValue.md(as_markdown(marks)),
        },
        data_version=dg.DataVersion(f"{version['fingerprint']}-{wanted.digest}"),
        check_results=[check],
    )


def compared(former: dict[str, object] | None, passed: list[str], score: float) -> dg.AssetCheckResult:
    """Return the check's result: against nothing, everything is well."""
    if former is None:
        return dg.AssetCheckResult(
            check_name=CHECK, passed=True, description="There is no former version to compare with."
        )
    before = cast("list[str]", former["passed"])
    lost = sorted(set(before) - set(passed))
    told = f"{former['fingerprint']} scored {former['score_all']:.2f}, this version {score:.2f}"
    return dg.AssetCheckResult(
        check_name=CHECK,
        passed=not lost,
        severity=dg.AssetCheckSeverity.ERROR,
        description=f"{told}; no more right: {', '.join(lost)}" if lost else told,
        metadata={
            "former_version": str(former["fingerprint"]),
            "former_score": cast("float", former["score_all"]),
            "score": score,
            "lost": dg.MetadataValue.json(lost),
            "gained": dg.MetadataValue.json(sorted(set(passed) - set(before))),
        },
    )


def _former(context: dg.AssetExecutionContext, fingerprint: str, digest: str) -> dict[str, object] | None:
    """Return what was kept last of another version, on the same set."""
    for record in context.instance.fetch_materializations(KEY, limit=LOOKED_AT).records:
        materialization = record.asset_materialization
        if materialization is None:
            continue
        known = {name: value.value for name, value in materialization.metadata.items()}
        if known.get("golden_set") == digest and known.get("fingerprint") not in {None, fingerprint}:
            passed = known["passed"]
            return {**known, "passed": json.loads(passed) if isinstance(passed, str) else passed}
    return None
