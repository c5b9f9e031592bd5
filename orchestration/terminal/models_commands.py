"""`runbell models …` as it is typed; what it does is in `models.py`, imported only when it is needed."""

from pathlib import Path
from typing import Annotated

import typer

from orchestration.terminal.shared import AsJson, installation

models = typer.Typer(help="The models that answer (docs/models.md).", no_args_is_help=True)


@models.command("list")
def list_models(*, as_json: AsJson = False) -> None:
    """List the models that are served and how busy they are, those that are here, and what can be pulled."""
    from orchestration.terminal.models import show_models

    settings, home = installation()
    show_models(settings, home.path, as_json=as_json)


@models.command("pull")
def pull_model(reference: str) -> None:
    """Get a model: a starter's name, a .gguf file or model folder, owner/repository of a hub, or URL#sha256=HEX."""
    from orchestration.terminal.models import pull_with_progress

    home = installation()[1]
    home.create()
    pull_with_progress(home.path, reference)


@models.command("init")
def init_models() -> None:
    """Write a models.yaml that says what is served now, to be changed by you."""
    from orchestration.terminal.models import write_first

    write_first(installation()[0])


@models.command("switch")
def switch_model(
    route: Annotated[str, typer.Argument(help="A route of models.yaml, such as default, fast or deep.")] = "default",
    model: Annotated[str | None, typer.Argument(help="The model that is to come first on it.")] = None,
    *,
    back: Annotated[bool, typer.Option("--back", help="Take the last switch back.")] = False,
) -> None:
    """Let another model answer, while requests go on; a model that does not load is not switched to."""
    from orchestration.terminal.models import switch_route

    settings, home = installation()
    raise typer.Exit(switch_route(settings, home.path, route, model, back=back))


@models.command("bench")
def bench_model(
    model: Annotated[str | None, typer.Argument(help="A model or route; the one that answers without it.")] = None,
    *,
    concurrent: Annotated[list[int] | None, typer.Option(min=1, max=1024, help="Requests at once; repeat it.")] = None,
    prompt: Annotated[list[int] | None, typer.Option(min=1, help="Tokens of the prompt; repeat it.")] = None,
    tokens: Annotated[int, typer.Option(min=1, max=8192, help="Tokens to be written, at most.")] = 32,
    seconds: Annotated[float, typer.Option(min=1, help="For everything together.")] = 60,
    chart: Annotated[Path | None, typer.Option(help="Where the picture goes; else RUNBELL_HOME/charts.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure time to the first token and tokens per second over concurrency and prompt length, in a minute."""
    from orchestration.benching import CONCURRENT, PROMPTS
    from orchestration.terminal.bench import Wanted, bench

    settings, home = installation()
    wanted = Wanted(model, concurrent or CONCURRENT, prompt or PROMPTS, tokens, seconds, chart)
    bench(settings, home, wanted, as_json=as_json)


@models.command("eval")
def eval_model(
    *,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait for the end.")] = 900,
    as_json: AsJson = False,
) -> None:
    """Ask the golden set of the model that answers now; exit status 1 when the former version knew more."""
    from orchestration.terminal.evaluating import evaluate

    settings, home = installation()
    raise typer.Exit(evaluate(settings, home, timeout_s=timeout, as_json=as_json))


@models.command("vllm")
def vllm_config(name: str, out: Annotated[Path | None, typer.Option(help="Default: print it.")] = None) -> None:
    """Write what `serve deploy` needs to run a model of the engine vllm, in an environment of its own."""
    from orchestration.terminal.models import show_vllm

    show_vllm(installation()[0], name, out)
