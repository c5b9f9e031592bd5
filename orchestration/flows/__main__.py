"""Print the JSON Schema of workflows in YAML, as docs/workflow.schema.json has it (`make schemas`)."""

import json
import sys

from orchestration.flows.schema import schema

if __name__ == "__main__":
    sys.stdout.write(json.dumps(schema(), ensure_ascii=False, indent=2) + "\n")
