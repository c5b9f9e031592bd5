"""Secret arguments among the others: which are meant, which are missing, and why no model fills them in.

How they are kept: `orchestration/sealing.py`.
"""

from collections.abc import Iterable

from orchestration.commands.problems import Problem
from orchestration.commands.spec import CommandSpec
from orchestration.commands.vocabulary import same_name

SECRETS_ARE_PEOPLES = (
    "secret arguments are given by people, who type the command",
    "机密参数由人提供，请输入该命令",
)
"""Why a model's values for them are refused."""


def secrets_in(spec: CommandSpec, values: Iterable[str]) -> set[str]:
    """Return which of these names, however they are written, are those of secret arguments."""
    secret = {same_name(argument.name) for argument in spec.arguments if argument.secret}
    return {name for name in values if same_name(name) in secret}


def lacks_secret(spec: CommandSpec, problem: Problem) -> bool:
    """Whether nothing more is wrong than that a secret was not given yet."""
    return problem.missing and problem.argument is not None and spec.by_name[problem.argument].secret
