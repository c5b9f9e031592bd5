"""Models of a Hugging Face hub: GGUF files, or a folder of safetensors (a chat model's or an embedder's).

HF_ENDPOINT names another hub, HF_TOKEN logs in.
"""

import os
import shutil
from pathlib import Path
from typing import Any

from integrations.errors import Forbidden, NotFound, RateLimited, RunbellError, Unavailable
from serving.shelf import InstalledModel, OnProgress, need, workshop
from serving.sources.safetensors_folder import kept_as
from serving.sources.shelving import check, choose, fresh, name_of, shelve, watched

ABOUT_S = 30.0
HUB = "https://huggingface.co"


def from_hub(home: Path, reference: str, on_progress: OnProgress) -> InstalledModel:
    """Fetch what `owner/repository[:file, quantisation or "safetensors"]` means."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils import disable_progress_bars

    repository, _, wanted = reference.removeprefix("hf:").partition(":")
    disable_progress_bars()
    about = _about(repository)
    on_hub = {file.rfilename: file for file in about.siblings or ()}
    chosen = choose(list(on_hub), wanted)
    gguf = chosen[0].lower().endswith(".gguf")
    name = name_of(Path(chosen[0]).stem if gguf else repository.rpartition("/")[2])
    total = sum(on_hub[file].size or 0 for file in chosen)
    with workshop(home, name) as shop:
        had = sum(path.stat().st_size for path in shop.rglob("*") if path.is_file())
        need(shop, max(total - had, 0))
        try:
            with watched(shop / "hub", name, total or None, on_progress):
                paths = [
                    Path(
                        hf_hub_download(
                            repository, file, revision=about.sha, local_dir=shop / "hub", endpoint=_endpoint()
                        )
                    )
                    for file in chosen
                ]
        except _failures() as error:
            raise _told(error, repository, "The download broke off") from error
        published = [on_hub[file].lfs for file in chosen]
        kept = [kept_as(file) for file in chosen]
        files = {
            its: check(name, path, lfs.sha256 if lfs else None, on_progress)
            for its, path, lfs in zip(kept, paths, published, strict=True)
        }
        staged = fresh(shop / "staged")
        for its, path in zip(kept, paths, strict=True):
            path.rename(staged / its)
        model = shelve(home, name, f"hf:{repository}@{about.sha}", staged, files)
        shutil.rmtree(shop)
        return model


def _endpoint() -> str | None:
    return os.environ.get("HF_ENDPOINT") or None


def _about(repository: str) -> Any:  # noqa: ANN401 - the library's own, imported only where it is needed
    from huggingface_hub import HfApi

    try:
        return HfApi(endpoint=_endpoint()).model_info(repository, files_metadata=True, timeout=ABOUT_S)
    except _failures() as error:
        raise _told(error, repository, "The hub can't be reached") from error


def _failures() -> tuple[type[Exception], ...]:
    """Return what the library raises: its own errors are OSErrors or ValueErrors, those of its HTTP client neither."""
    from httpx2 import HTTPError, InvalidURL

    return OSError, ValueError, HTTPError, InvalidURL


def _told(error: Exception, repository: str, what: str) -> RunbellError:
    """Return what to do: the library's own texts are pages long, and its classes mix what is missing and forbidden."""
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

    if isinstance(error, GatedRepoError):
        return Forbidden(
            f"{repository} is given only to who accepts its terms: do so on its page on the hub, then set HF_TOKEN to a"
            " token of that account."
        )
    response = error.response if isinstance(error, HfHubHTTPError) else None
    status = response.status_code if response is not None else None
    wrong_token = (
        status == 401 and response is not None and "credentials" in response.headers.get("X-Error-Message", "")
    )
    # A hub says 401 of what is not there, too: else anybody could find out which private models there are.
    if isinstance(error, RepositoryNotFoundError) or (status in {401, 404} and not wrong_token):
        return NotFound(
            f"The hub has no model {repository}, or does not show it to you. Look at the name; for a private model set"
            " HF_TOKEN to a token that may read it."
        )
    if status in {401, 403}:
        return Forbidden(f"The hub refuses your token for {repository}. Set HF_TOKEN to one that may read it.")
    if status == 429:
        return RateLimited("The hub asks for a pause. Pull again later; with HF_TOKEN you may ask more.", after=60)
    first = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
    if status is None:
        return Unavailable(
            f"{what} at {_endpoint() or HUB}: {first}. Pull again when it can be reached; HF_ENDPOINT names another"
            " hub, and what lies on this machine is pulled by its path.",
            after=10,
        )
    return Unavailable(f"{what}: {first}. Pull again to go on.", after=10)
