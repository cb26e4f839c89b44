"""A run that was stopped, on disk: enough to go on as if nothing had happened.

Decisions:
- One file a run, numpy's npz without pickles, replaced as a whole: a crash leaves the old one or the new one.
- A file fits only the same spec, text, engine, versions and device, since only then do the further steps come
  out bit for bit as they would have; any other is left alone, with a warning, and the run starts afresh.
"""

from __future__ import annotations

import json
import os
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minichin.engine import State
from minichin.runs import Evaluation

Identity = dict[str, str]


@dataclass(frozen=True)
class Checkpoint:
    """An engine's state, the curve so far, and the seconds that they took."""

    state: State
    curve: tuple[Evaluation, ...]
    seconds: float


def save(path: Path, identity: Identity, checkpoint: Checkpoint) -> None:
    """Write `checkpoint` to `path`, whole or not at all; its folder is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    about = json.dumps({"identity": identity, "seconds": checkpoint.seconds})
    curve = np.array(
        [(p.step, p.val_loss, p.train_loss) for p in checkpoint.curve], dtype=np.float64
    ).reshape(-1, 3)
    arrays = {f"state/{name}": value for name, value in checkpoint.state.items()}
    try:
        with partial.open("wb") as handle:
            np.savez(handle, allow_pickle=False, about=np.array(about), curve=curve, **arrays)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def load(path: Path, identity: Identity) -> Checkpoint | None:
    """The checkpoint at `path`; None where there is none or (with a warning) where it does not fit."""
    if not path.exists():
        return None
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            about = json.loads(str(file["about"]))
            curve = tuple(Evaluation(int(step), *losses) for step, *losses in file["curve"].tolist())
            state = {name[6:]: file[name] for name in file.files if name.startswith("state/")}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        warnings.warn(f"{path} is no checkpoint ({error}); the run starts afresh", stacklevel=2)
        return None
    known = about["identity"]
    for name in sorted(identity.keys() | known.keys()):
        if known.get(name) != identity.get(name):
            here, there = identity.get(name), known.get(name)
            warnings.warn(
                f"{path} is of {name} {there}, not {here}; the run starts afresh",
                stacklevel=2,
            )
            return None
    return Checkpoint(state, curve, about["seconds"])
