"""What the grader asks a kernel before and after each check: is everything that judges still itself?

The text of `changed` is sent to the kernel and runs there, so it uses only the standard library and imports
inside. It finds what a student can do in a few lines: names of one's own in place of those that a check
uses, and functions put into minichin, IPython or the built-ins. What runs in one process with the judge
can in the end always fool it; that takes more than this.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable
from typing import Any


def changed(space: dict[str, Any], used: list[str], imports: list[str]) -> list[str]:
    """What is no longer itself: names in `space` first, with a leading "name ", then what was patched.

    `used` are the names that the check uses, `imports` the statements by which the assignment imports.
    """
    import builtins
    import inspect
    import sys
    from types import FunctionType

    from IPython import get_ipython

    def own(value: object) -> bool:  # made in the notebook
        where = getattr(value, "__module__", None), type(value).__module__
        return "__main__" in where or getattr(getattr(value, "func", None), "__module__", "") == "__main__"

    found: list[str] = []
    fresh: dict[str, Any] = {}
    for statement in imports:
        try:
            builtins.exec(statement, fresh)
        except Exception:
            continue
    genuine = {name: value for name, value in vars(builtins).items() if not own(value)}
    genuine.update((name, value) for name, value in fresh.items() if name != "__builtins__")
    for name in used:
        if name in space and name in genuine and space[name] is not genuine[name] and name != "open":
            found.append(f"name {name}")

    def look(where: str, holder: object) -> None:
        found.extend(f"{where}.{name}" for name, value in list(vars(holder).items()) if own(value))

    def compare(where: str, code: Any, holder: object) -> None:
        for inner in [c for c in code.co_consts if inspect.iscode(c) and "<" not in c.co_name]:
            value = vars(holder).get(inner.co_name)
            if isinstance(value, type) and value.__module__ == module.__name__:
                look(f"{where}.{inner.co_name}", value)
                compare(f"{where}.{inner.co_name}", inner, value)
                continue
            for name in ("fget", "__func__", "func", "callback"):
                value = getattr(value, name, None) or value
            value = inspect.unwrap(value) if callable(value) else value
            if isinstance(value, FunctionType) and value.__code__.co_filename == code.co_filename:
                continue
            found.append(f"{where}.{inner.co_name}")

    look("builtins", builtins)
    look("sys", sys)
    for module in [m for name, m in list(sys.modules.items()) if name.split(".")[0] == "minichin"]:
        look(module.__name__, module)
        code = getattr(getattr(module, "__loader__", None), "get_code", lambda name: None)(module.__name__)
        if code is not None:
            compare(module.__name__, code, module)
    shell = get_ipython()
    for where, holder in (("shell", shell), ("kernel", shell.kernel), ("shell class", type(shell))):
        look(where, holder)
    manager = shell.input_transformer_manager
    hooks = [*manager.cleanup_transforms, *manager.line_transforms, *manager.token_transformers]
    hooks += [*shell.ast_transformers, *shell.input_transformers_post]
    hooks += [hook for listeners in shell.events.callbacks.values() for hook in listeners]
    hooks += [sys.gettrace(), sys.getprofile(), *shell.custom_exceptions, *sys.meta_path]
    return found + [f"hook {hook!r}" for hook in hooks if own(hook)]


def question(nonce: str, used: Iterable[str], imports: Iterable[str]) -> str:
    """A cell that shows the text `nonce`, followed by what has changed, separated by |."""
    program = (
        f"from __future__ import annotations\nfrom IPython import get_ipython\n{inspect.getsource(changed)}\n"
        f"found = changed(get_ipython().user_ns, {sorted(used)!r}, {list(imports)!r})\n"
        f"answer = '|'.join([{nonce!r}, *found])[:500]"
    )
    return f"(lambda b, ns: b.exec({program!r}, ns) or ns['answer'])(__import__('builtins'), {{}})"


def trees(sources: Iterable[str]) -> list[ast.Module]:
    """The syntax trees of those cells that are plain Python."""
    parsed = []
    for source in sources:
        try:
            parsed.append(ast.parse(source))
        except (SyntaxError, ValueError, RecursionError):
            continue
    return parsed


def imports_of(sources: Iterable[str]) -> list[str]:
    """The import statements at the top of these cells."""
    nodes = [node for tree in trees(sources) for node in tree.body]
    return [ast.unparse(node) for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]


def names_in(source: str, kind: type[ast.expr_context]) -> set[str]:
    """The names that a cell loads (`ast.Load`) or stores (`ast.Store`)."""
    nodes = [node for tree in trees([source]) for node in ast.walk(tree)]
    return {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, kind)}
