"""Changing a route in models.yaml by program: the rest of the file, comments too, stays as it is."""

from pathlib import Path

import yaml

from integrations.errors import InvalidInput, Misconfigured
from serving.models_file import parse

BACK = ".previous"


def switch(path: Path, route: str, model: str) -> tuple[str, ...]:
    """Put a model first on a route, and return the route's candidates; the others stay as fallbacks.

    The file as it was lies beside it (`.previous`). Raises `InvalidInput` for what there is not, and changes nothing.
    """
    if not path.is_file():
        raise Misconfigured(f"{path} is missing. Run: runbell models init")
    fleet = parse(path)
    if model not in fleet.models:
        raise InvalidInput(f"There is no model {model!r} in {path}; there is: {', '.join(fleet.models)}", field="model")
    routes = fleet.all_routes()
    if route not in routes:
        raise InvalidInput(
            f"There is no route {route!r} in {path}; there is: {', '.join(sorted(routes))}", field="route"
        )
    candidates = tuple(dict.fromkeys((model, *routes[route].candidates)))
    text = path.read_text(encoding="utf-8")
    _replace(path, _with_route(text, route, candidates), keep=text)
    return candidates


def switch_back(path: Path) -> None:
    """Take the file as it was before the last switch, which can be taken back the same way."""
    previous = path.with_name(path.name + BACK)
    if not previous.is_file():
        raise Misconfigured(f"{previous} is missing: nothing was switched yet.")
    _replace(path, previous.read_text(encoding="utf-8"), keep=path.read_text(encoding="utf-8"))


def _with_route(text: str, route: str, candidates: tuple[str, ...]) -> str:
    said = "[" + ", ".join(candidates) + "]"
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    routes = _value(root, "routes")
    if routes is None:
        return f"{text.rstrip()}\n\nroutes:\n  {route}: {said}\n"
    node = _value(routes, route)
    if node is None:
        if not isinstance(routes, yaml.MappingNode) or routes.flow_style or not routes.value:
            raise Misconfigured("`routes` must be written as lines of their own, to be changed by program.")
        first = routes.value[0][0].start_mark
        return f"{text[: first.index]}{route}: {said}\n{' ' * first.column}{text[first.index :]}"
    node = _value(node, "candidates") or node
    if node.start_mark is None or node.end_mark is None:
        raise Misconfigured("models.yaml can't be changed by program.")
    old = text[node.start_mark.index : node.end_mark.index]
    blank = old[len(old.rstrip()) :]
    if isinstance(node, yaml.SequenceNode) and not node.flow_style:
        # A list with dashes stands below its key; in one line it stands beside.
        head = text[: node.start_mark.index].rstrip()
        return f"{head} {said}{blank or chr(10)}{text[node.end_mark.index :]}"
    return f"{text[: node.start_mark.index]}{said}{blank}{text[node.end_mark.index :]}"


def _value(node: yaml.Node | None, key: str) -> yaml.Node | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for name, value in node.value if name.value == key), None)


def _replace(path: Path, text: str, *, keep: str) -> None:
    """Write the new file only where it can be read, and the old one beside it."""
    partial = path.with_name(path.name + ".new")
    partial.write_text(text, encoding="utf-8")
    try:
        parse(partial)
    except Misconfigured:
        partial.unlink()
        raise
    path.with_name(path.name + BACK).write_text(keep, encoding="utf-8")
    partial.replace(path)
