"""Laws that differ from student to student: where they come from, and the tickets that carry them.

Decisions
- A law is drawn from a keyed hash (HMAC-SHA256) of the user name. With the instructor's secret as the key
  nobody can compute another's law, or the law of a name that was not enrolled.
- A student's machine gets a ticket: that student's own law, sealed with a key derived from the name. This
  keeps the five numbers out of sight, out of search and out of everybody else's ticket. It is no safe:
  whoever reads this module and calls its functions can open the own ticket. Offline nothing can be
  stronger, because what answers a request must hold the law. Nor would a slow key help: the name is no
  secret, and every request opens the ticket anew.
- Without a ticket the key is the public one below: laws for practice, which anyone can compute.
- Noise depends on the law, the run and how often it was asked for. Starting again gives the same answers.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import math
import os
from pathlib import Path

import numpy as np

from minichin.law import LossSurface

PRACTICE_KEY = b"minichin practice laws"
TICKET = "lab-ticket.json"
TICKET_VERSION = 1
REFERENCE_FLOPS = 1e19  # where the drawn quantities hold; FLOPs by 6 N D


def clean(user: str) -> str:
    """The name as laws and accounts know it: no case, no surplus blanks; ValueError where it is empty."""
    name = " ".join(str(user).split()).casefold()
    if not name:
        raise ValueError("the user name is empty: write the name under which you hand in")
    return name


def draw_law(user: str, key: bytes = PRACTICE_KEY) -> tuple[LossSurface, bytes]:
    """The hidden law of `user` under `key`, and the key of its noise.

    Exponents 0.28 to 0.42, E 1.4 to 2.2 nats a token; at 1e19 FLOPs the optimum has 8 to 45 tokens a
    parameter and 0.9 to 1.3 nats above E.
    """
    digest = hmac.new(key, b"law:" + clean(user).encode(), hashlib.sha256).digest()
    rng = np.random.default_rng(int.from_bytes(digest, "big"))
    alpha, beta = rng.uniform(0.28, 0.42, 2)
    entropy, reducible = rng.uniform(1.4, 2.2), rng.uniform(0.9, 1.3)
    ratio = math.exp(rng.uniform(math.log(8), math.log(45)))
    params = math.sqrt(REFERENCE_FLOPS / 6 / ratio)
    model = reducible * beta / (alpha + beta)
    a, b = model * params**alpha, (reducible - model) * (ratio * params) ** beta
    law = LossSurface(float(entropy), float(a), float(b), float(alpha), float(beta))
    return law, hmac.new(key, b"noise:" + clean(user).encode(), hashlib.sha256).digest()


def noise(key: bytes, params: float, tokens: float, times: int, sd: float) -> float:
    """Normal noise of standard deviation `sd` for the `times`-th request of one run, the same ever after."""
    what = f"{math.log(params):.6f}:{math.log(tokens):.6f}:{times}".encode()
    digest = hmac.new(key, what, hashlib.sha256).digest()
    return float(np.random.default_rng(int.from_bytes(digest, "big")).normal(0.0, sd))


def _stream(user: str, salt: bytes, length: int) -> bytes:
    key = hmac.new(salt, b"ticket:" + clean(user).encode(), hashlib.sha256).digest()
    return hashlib.shake_256(key + salt).digest(length)


def _mix(data: bytes, stream: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(data, stream, strict=True))


def make_ticket(user: str, key: bytes) -> str:
    """The text of `user`'s ticket, made by the instructor's `key`."""
    law, noise_key = draw_law(user, key)
    values = [law.E, law.A, law.B, law.alpha, law.beta]
    data = json.dumps({"law": values, "noise": noise_key.hex()}).encode()
    salt = os.urandom(16)
    sealed = _mix(data, _stream(user, salt, len(data)))
    seal = hmac.new(_stream(user, salt, 32), sealed, hashlib.sha256).hexdigest()
    fields = {
        "minichin_ticket": TICKET_VERSION,
        "user": clean(user),
        "salt": salt.hex(),
        "sealed": base64.b64encode(sealed).decode(),
        "seal": seal,
    }
    return json.dumps(fields, indent=1) + "\n"


def open_ticket(user: str, path: Path) -> tuple[LossSurface, bytes]:
    """The law and noise key in the ticket at `path`; ValueError where it is not this user's, or damaged."""
    try:
        fields = json.loads(path.read_text("utf-8"))
        salt, sealed = bytes.fromhex(fields["salt"]), base64.b64decode(fields["sealed"])
        version = fields["minichin_ticket"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        why = " ".join(str(error).split())
        raise ValueError(f"{path.name} is no laboratory ticket ({why}); ask for it again") from None
    if version != TICKET_VERSION:
        raise ValueError(f"{path.name} has version {version!r}; this minichin reads {TICKET_VERSION}")
    if fields.get("user") != clean(user):
        raise ValueError(
            f"{path.name} is the ticket of {fields.get('user')!r}, not of {clean(user)!r}: "
            "use your own ticket, and the name under which you hand in"
        )
    seal = hmac.new(_stream(user, salt, 32), sealed, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(seal, str(fields.get("seal"))):
        raise ValueError(f"{path.name} was changed: ask for it again")
    data = json.loads(_mix(sealed, _stream(user, salt, len(sealed))))
    return LossSurface(*data["law"]), bytes.fromhex(data["noise"])


def law_of(user: str, ticket: Path | None = None) -> tuple[LossSurface, bytes]:
    """The law that answers for `user`: of the ticket where there is one, else the one for practice."""
    path = ticket or Path(TICKET)
    return open_ticket(user, path) if ticket or path.is_file() else draw_law(user)
