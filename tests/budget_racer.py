"""A process that asks for as many holds of a budget as it can get, at once, and keeps them: `URL FOLDER SECONDS`.

Says `ready`; at a line on its input it asks, and says how many it got.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from integrations.database import Database
from orchestration.budgets import LATER_S, Budgets
from serving.fleet import Fleet

AT_ONCE = 8
FLEET = Fleet.model_validate(
    {
        "models": {"paid": {"engine": "openai"}, "e": {"engine": "minilm", "capabilities": ["embed"]}},
        "policy": {"budget_per_day": 10},
    }
)


def main(url: str, folder: str, seconds: str) -> None:
    budgets = Budgets(Database(url, files=Path(folder)), lambda: FLEET)

    def reserve(_: int) -> bool:
        reserved = budgets.reserve("acme", [1.0], float(seconds) - LATER_S)
        return reserved is not None and reserved.held.id is not None

    _say("ready")
    sys.stdin.readline()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        _say(sum(pool.map(reserve, range(3 * AT_ONCE))))
    sys.stdin.readline()


def _say(what: object) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
