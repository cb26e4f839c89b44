"""What runs in a Ray cluster: the task that trains a job, and the mailbox through which it tells.

Decisions:
- The driver's class is `on_ray.RayPool`; what is here is imported by workers, from their own minichin.
- No file system is shared: a worker trains in a folder of its own, and a checkpoint that was written there
  travels with the next message.
- A worker whose minichin has another source than the driver's refuses to train: its records would not be
  what the driver asked for.
"""

from __future__ import annotations

import hashlib
import socket
import tempfile
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from minichin.corpus import Corpus
from minichin.jobs import Job, Message, train_job


@cache
def fingerprint() -> str:
    """A hash of this minichin's source."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("**/*")):
        if path.suffix in (".py", ".cpp"):
            digest.update(path.read_bytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class Letter:
    """A message from attempt number `attempt`, with the checkpoints written since the last, by file name."""

    attempt: int
    message: Message
    states: dict[str, bytes]


class Mailbox:
    """What workers told and the driver has not yet taken; a Ray actor."""

    def __init__(self) -> None:
        import asyncio

        self.letters: list[Letter] = []
        self.stopping, self.some = False, asyncio.Event()

    async def post(self, letter: Letter) -> bool:
        """Leave a letter; the answer is whether to stop."""
        self.letters.append(letter)
        self.some.set()
        return self.stopping

    async def filled(self) -> None:
        """Wait for a letter."""
        await self.some.wait()

    async def take(self) -> list[Letter]:
        """Take out all letters."""
        taken, self.letters = self.letters, []
        self.some.clear()
        return taken

    async def stop(self) -> None:
        """From now on, answer to stop."""
        self.stopping = True


class _Folder:
    """A worker's folder of checkpoints: what was written there since the last look."""

    def __init__(self, folder: Path, states: dict[str, bytes]) -> None:
        self.folder = folder
        for name, state in states.items():
            (folder / name).write_bytes(state)
        self.seen = self._times()

    def _times(self) -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in self.folder.glob("*.npz")}

    def news(self) -> dict[str, bytes]:
        """The new files, by name."""
        now = self._times()
        new = {name: (self.folder / name).read_bytes() for name in now if now[name] != self.seen.get(name)}
        self.seen = now
        return new


def train_task(
    attempt: int,
    job: Job,
    states: dict[str, bytes],
    texts: dict[str, Any],
    mailbox: Any,
    device: str,
    engine: str,
    source: str,
) -> str:
    """Train a job in a Ray worker; the answer is why this worker cannot, or empty.

    states: checkpoints by file name; texts: references to corpora by name.
    """
    import ray
    import torch

    if source != fingerprint():
        return f"minichin on the node {socket.gethostname()} is another one than here"
    torch.set_num_threads(1)
    # Where a task's main thread waits, Ray lends its core to another task: so it is not this one that waits.
    with (
        tempfile.TemporaryDirectory(prefix="minichin-") as name,
        ThreadPoolExecutor(1) as aside,
        warnings.catch_warnings(),
    ):
        folder = _Folder(Path(name), states)

        def get(reference: Any) -> Any:
            return aside.submit(ray.get, reference).result()

        def tell(message: Message) -> bool:
            letter = Letter(attempt, message, folder.news())
            try:
                return bool(get(mailbox.post.remote(letter)))
            except ray.exceptions.RayError:  # the driver is gone
                return True

        def pass_on(message: Warning | str, *_: object, **__: object) -> None:
            tell(Message("note", text=str(message)))

        def load(name: str) -> Corpus:
            text: Corpus = get(texts[name])
            # What comes from the object store is read-only, which torch warns of where it shares the array.
            return text if device == "cpu" else replace(text, train=text.train.copy())

        vars(warnings)["showwarning"] = pass_on
        train_job(job, load, device=device, engine=engine, checkpoints=folder.folder, tell=tell)
    return ""
