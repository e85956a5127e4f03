"""The weights of a Hugging Face repository, through huggingface_hub, without the rest of the repository."""

from __future__ import annotations

import errno
import fnmatch
import glob
import os
import re
from collections.abc import Iterable
from pathlib import Path

from keras_vit.errors import Failure, InputError
from keras_vit.version import __version__
from keras_vit.weights.cache import cache_folder, check_space, offline, unwritable

SETTINGS = ("config.json", "preprocessor_config.json")
"""Fetched along with any weights."""

WEIGHTS = (
    ("model.safetensors",),
    ("model.safetensors.index.json", "model-*-of-*.safetensors"),
    ("*.safetensors", "*.safetensors.index.json", "*.npz"),
    ("pytorch_model*.bin", "pytorch_model.bin.index.json", "*.pth"),
)
"""The first row that a repository has files of is fetched and no other: many hold the same weights in several forms."""

_LOCAL_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)


def repository(source: str) -> tuple[str, str | None]:
    """`"hf:owner/name@revision"` -> (`"owner/name"`, `"revision"` or None).

    Raises:
        InputError: another form.
    """
    match = re.fullmatch(r"hf:([\w.-]+/[\w.-]+?)(?:@([\w./+-]+))?", source, re.ASCII)
    if not match or ".." in source:
        raise InputError(
            f"{source!r} is not a Hugging Face repository: write hf:owner/name or hf:owner/name@revision, where the "
            "revision is a branch, a tag or a commit."
        )
    return match[1], match[2]


def choose(names: Iterable[str]) -> list[str]:
    """The files of a repository that are fetched: its settings and one form of its weights; none without weights.

    Files in subfolders are left alone: they are other models or the states of a training.

    Args:
        names: of all its files, folders separated by `/`.
    """
    names = sorted(name for name in names if "/" not in name)
    for row in WEIGHTS:
        found = [name for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in row)]
        if found:
            return [name for name in SETTINGS if name in names] + found
    return []


def snapshot(repo: str, revision: str | None = None) -> Path:
    """The folder with a repository's weights and settings, in the cache or fetched into it.

    A branch or a tag is looked up anew at every call, a commit only once. Where the Hub cannot be reached, what was
    fetched before is used and that is said. `HF_TOKEN` and `HF_ENDPOINT` are honoured.

    Args:
        repo: `"owner/name"`.
        revision: branch, tag or commit; the main branch by default.

    Returns:
        A folder of huggingface_hub's cache.

    Raises:
        InputError: no such repository or revision, no access to it, no weights in it, no free space, or offline and
            not in the cache.
        Failure: the Hub cannot be reached or breaks off.
    """
    folder = cache_folder() / "hub"
    kept = _cached(repo, revision, folder)
    variable = offline()
    if kept and (variable or re.fullmatch(r"[0-9a-f]{40}", revision or "")):
        return kept
    if variable:
        version = f" in the revision {revision}" if revision else ""
        raise InputError(
            f"{repo}{version} is not complete in the cache and {variable} forbids the network: fetch it once without "
            f"{variable}, or copy the folder {folder} from a machine that has it, or give a path."
        )
    endpoint = (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")
    try:
        return _download(repo, revision, folder, endpoint)
    except (InputError, Failure):
        raise
    except Exception as error:
        # Everything else: huggingface_hub lets the errors of its HTTP client and of its transfer library through, and
        # both are others in each of its major versions.
        problem = _explain(error, repo, revision, folder, endpoint)
        if kept and isinstance(problem, Failure):
            print(f"{endpoint} cannot be reached: {repo} is used as it was fetched before.")
            return kept
        raise problem from error


def _cached(repo: str, revision: str | None, folder: Path) -> Path | None:
    """The snapshot of an earlier call, if all of it is there."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        # No patterns: whether the files that we want are there is for us to say.
        path = snapshot_download(repo, revision=revision, cache_dir=folder, local_files_only=True, allow_patterns=[])
    except LocalEntryNotFoundError:
        return None
    except HFValidationError as error:
        raise InputError(f"{repo} cannot be the name of a Hugging Face repository: {error}") from None
    present = {file.name for file in Path(path).iterdir() if file.is_file()}
    chosen = choose(present)
    return Path(path) if chosen and present.issuperset(_all_shards(chosen)) else None


def _all_shards(names: Iterable[str]) -> set[str]:
    """Every file that must lie beside numbered ones: `model-00001-of-00003.safetensors` calls for three."""
    shards = set()
    for name in names:
        if match := re.fullmatch(r"(.+)-\d{5}-of-(\d{5})(\.\w+)", name):
            shards |= {f"{match[1]}-{i + 1:05d}-of-{match[2]}{match[3]}" for i in range(int(match[2]))}
    return shards


def _download(repo: str, revision: str | None, folder: Path, endpoint: str) -> Path:
    from huggingface_hub import HfApi, hf_hub_download, snapshot_download, try_to_load_from_cache

    client = {"library_name": "keras_vit", "library_version": __version__, "endpoint": endpoint}
    info = HfApi(**client).model_info(repo, revision=revision, files_metadata=True)
    sizes = {sibling.rfilename: sibling.size for sibling in info.siblings or ()}
    wanted = choose(sizes)
    if not wanted:
        raise InputError(
            f"{repo} has no weights in a form that is read (.safetensors, .npz, pytorch_model.bin, .pth): "
            f"{_listed(sizes)}."
        )
    cached = {name: try_to_load_from_cache(repo, name, folder, revision=info.sha) for name in wanted}
    here = [name for name, path in cached.items() if isinstance(path, str)]
    absent = [name for name in wanted if name not in here]
    damaged = [name for name in here if sizes[name] not in (None, os.path.getsize(cached[name]))]
    folder.mkdir(parents=True, exist_ok=True)
    check_space(folder, sum(sizes[name] or 0 for name in absent + damaged), f"{endpoint}/{repo}")
    for name in damaged:
        print(f"{cached[name]} is damaged: it is fetched again.")
        hf_hub_download(repo, name, revision=info.sha, cache_dir=folder, force_download=True, **client)
    patterns = [glob.escape(name) for name in wanted]
    path = Path(snapshot_download(repo, revision=revision, cache_dir=folder, allow_patterns=patterns, **client))
    if absent:
        print(f"Fetched {repo} ({', '.join(absent[:4])}{', ...' if len(absent) > 4 else ''}) to {path}.")
    return path


def _listed(names: Iterable[str]) -> str:
    names = sorted(names)
    return f"it holds {', '.join(names[:6])}{', ...' if len(names) > 6 else ''}" if names else "it is empty"


def _explain(error: Exception, repo: str, revision: str | None, folder: Path, endpoint: str) -> InputError | Failure:
    """One sentence for an error of huggingface_hub."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    page = f"{endpoint}/{repo}"
    status = getattr(getattr(error, "response", None), "status_code", None)
    # A gated repository counts as a special case of one that is not found, so it is asked about first.
    if isinstance(error, GatedRepoError):
        return InputError(
            f"{repo} is given out under a licence that you have to accept: accept it at {page} and set HF_TOKEN to a "
            f"token from {endpoint}/settings/tokens of the same account."
        )
    if isinstance(error, RevisionNotFoundError):
        return InputError(
            f"{repo} has no revision {revision!r}: give a branch, a tag or a commit from {page}/commits, or none."
        )
    if isinstance(error, RepositoryNotFoundError):
        return InputError(
            f"There is no repository {page} that you may read: check owner and name; if it is private, set HF_TOKEN."
        )
    if status in (401, 403):
        return InputError(
            f"{endpoint} does not let you read {repo} ({status}): set HF_TOKEN to a valid token that may read it, from "
            f"{endpoint}/settings/tokens."
        )
    if isinstance(error, OSError) and error.errno in _LOCAL_ERRORS:
        return unwritable(folder, error)
    reason = (str(error).strip().splitlines() or [""])[0] or type(error).__name__
    return Failure(
        f"{repo} could not be fetched from {endpoint} ({reason}): check the connection and HF_ENDPOINT and call again; "
        "files that are complete are kept."
    )
