"""Files from the Hugging Face hub: encoders and checkpoints. A hub that does not answer is given up in seconds."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from multigrain.errors import HubError

REACH_SECONDS = 10.0
"""How long the hub may take to answer whether it has what is asked for; a download after that may take as long as it needs."""


def fetch_from_hub(
    hub_id: str,
    patterns: Sequence[str],
    is_complete: Callable[[Path], bool],
    *,
    prefers_cache: bool,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    force_download: bool = False,
    local_files_only: bool = False,
    token: str | bool | None = None,
) -> Path:
    """The local folder of a repository of the hub.

    Args:
        hub_id: owner/name, or the name alone.
        patterns: of the files that are fetched; others are left there.
        is_complete: whether a folder holds what is needed.
        prefers_cache: True takes what was fetched before without asking anybody; False asks whether there is something newer, and takes what was
            fetched before only where the hub cannot be reached.
        revision: branch, tag or commit; None for the newest.
        cache_dir: where downloads are kept; None for the hub's own cache.
        force_download: fetches again what was fetched before.
        local_files_only: takes what was fetched before, or nothing.
        token: of the hub's user, for what is not public.

    Raises:
        HubError: it is not there, or the hub does not answer in `REACH_SECONDS`; the message names the kind of failure and what was said.
    """
    from huggingface_hub import HfApi, snapshot_download

    options: dict[str, Any] = {"revision": revision, "cache_dir": cache_dir, "allow_patterns": list(patterns)}
    cached = None if force_download else _cached(hub_id, options, is_complete)
    if cached is not None and (prefers_cache or local_files_only):
        return cached
    try:
        if not local_files_only:
            _within(REACH_SECONDS, lambda: HfApi(token=token).repo_info(hub_id, revision=revision, timeout=REACH_SECONDS / 2))
        return Path(
            snapshot_download(
                hub_id, **options, etag_timeout=REACH_SECONDS / 2, force_download=force_download, local_files_only=local_files_only, token=token
            )
        )
    except Exception as error:  # httpx, the hub and the disk have no common base; the message names the kind, and the cause is chained
        if cached is not None and not _is_an_answer(error):
            return cached
        raise HubError(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}") from error


def _cached(hub_id: str, options: dict[str, Any], is_complete: Callable[[Path], bool]) -> Path | None:
    """What was fetched before, where that is all that is needed."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(hub_id, **options, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        return None
    return folder if is_complete(folder) else None


def _is_an_answer(error: Exception) -> bool:
    """Whether the hub said that there is no such repository or revision, or that it is not for this user."""
    from huggingface_hub.errors import HfHubHTTPError

    return isinstance(error, HfHubHTTPError) and error.response is not None and error.response.status_code < 500


def _within(seconds: float, ask: Callable[[], Any]) -> None:
    """Asks in a thread of its own, since looking up a name cannot be told to give up."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            ask()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise TimeoutError(f"no answer within {seconds:g} seconds")
    if failures:
        raise failures[0]
