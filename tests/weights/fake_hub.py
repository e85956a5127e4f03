"""A small Hugging Face Hub on 127.0.0.1: the endpoints that huggingface_hub's snapshot_download asks."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from urllib.parse import unquote, urlsplit

from bad_server import Answer, running, send_file


@dataclass
class Hub:
    """What the Hub has and how it behaves.

    Attributes:
        repos: name -> file name -> content.
        revisions: branch or tag -> commit, for all repositories.
        gated: repositories whose files want a token.
        token: the token that opens them.
        breaks: file name -> how many of its downloads still break off in the middle.
        down: file name -> the status that its download is answered with.
    """

    repos: dict[str, dict[str, bytes]]
    revisions: dict[str, str] = field(default_factory=lambda: {"main": "a" * 40})
    gated: tuple[str, ...] = ()
    token: str = "hf_right"
    breaks: dict[str, int] = field(default_factory=dict)
    down: dict[str, int] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)

    def downloads(self) -> list[str]:
        """The files that were asked for with GET, in order."""
        return [line.split("/")[-1] for line in self.requests if line.startswith("GET") and "/resolve/" in line]


@contextlib.contextmanager
def hub(site: Hub) -> Iterator[str]:
    """A Hub; gives its address."""
    with running(HubHandler, site) as address:
        yield address


class HubHandler(BaseHTTPRequestHandler):
    """`/api/models/...` and `/owner/name/resolve/...`, with the Hub's own headers for errors."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self._answer()

    def do_GET(self):
        self._answer()

    def _answer(self) -> None:
        site: Hub = self.server.site
        path = unquote(urlsplit(self.path).path)
        site.requests.append(f"{self.command} {path}")
        api = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/(.+?))?/?", path)
        resolve = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        repo, revision = (api[1], api[3] or "main") if api else (resolve[1], resolve[2])
        commit = site.revisions.get(revision, revision if revision in site.revisions.values() else None)
        if repo not in site.repos:
            self._error(404, "RepoNotFound")
        elif commit is None:
            self._error(404, "RevisionNotFound")
        elif api:
            self._json(self._tree(repo) if api[2] == "tree" else self._info(repo, commit))
        elif repo in site.gated and self.headers.get("Authorization") != f"Bearer {site.token}":
            self._error(403 if "Authorization" in self.headers else 401, "GatedRepo")
        elif resolve[3] not in site.repos[repo]:
            self._error(404, "EntryNotFound")
        else:
            self._file(site, resolve[3], site.repos[repo][resolve[3]], commit)

    def _file(self, site: Hub, name: str, content: bytes, commit: str) -> None:
        etag = f'"{hashlib.sha256(content).hexdigest()}"'
        if self.command == "HEAD":
            self.send_response(200)
            headers = {"ETag": etag, "Content-Length": str(len(content)), "X-Repo-Commit": commit}
            for header, value in headers.items():
                self.send_header(header, value)
            return self.end_headers()
        if name in site.down:
            return self._error(site.down[name], "Down")
        broken = site.breaks.get(name, 0) > 0
        site.breaks[name] = site.breaks.get(name, 0) - 1
        self.close_connection = True
        sent = len(content) // 3 if broken else None
        send_file(self, Answer(content, etag, sent=sent, if_range=False), {"X-Repo-Commit": commit})

    def _info(self, repo: str, commit: str) -> dict:
        siblings = [{"rfilename": name, "size": len(data)} for name, data in self.server.site.repos[repo].items()]
        return {"id": repo, "modelId": repo, "sha": commit, "siblings": siblings}

    def _tree(self, repo: str) -> list[dict]:
        return [
            {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
            for name, content in self.server.site.repos[repo].items()
        ]

    def _json(self, content: dict | list) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _error(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        """Nothing on the terminal."""
