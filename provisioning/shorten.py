"""Short names for what a firmware module keeps to itself, so that a node's memory holds fewer of them.

MicroPython keeps every name of every module it ever loaded, in tables that double: one name too many costs 14 kB on the
virtual board. Names of a module's own functions, classes and values that begin with an underscore are seen by nobody
else, so the first of each module may be `_0`, the second `_1`, ... Lines stay where they are, and with them the line
numbers of a traceback. Attributes, arguments and everything public keep their names.
"""

import ast
import io
import tokenize


def shorten(source: str) -> str:
    """The same module with its private top-level names shortened. Folded constants (`const`) are left alone."""
    tree = ast.parse(source)
    names = _private_names(tree) - _seen_elsewhere(tree)
    short = {name: f"_{index}" for index, name in enumerate(sorted(names))}
    return _replaced(source, short)


def _private_names(tree: ast.Module) -> set[str]:
    found = set()
    for statement in tree.body:
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(statement.name)
        elif isinstance(statement, ast.Assign) and not _is_constant(statement.value):
            found |= {target.id for target in statement.targets if isinstance(target, ast.Name)}
    return {name for name in found if name.startswith("_") and not name.startswith("__")}


def _is_constant(value: ast.expr) -> bool:
    return isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "const"


def _seen_elsewhere(tree: ast.Module) -> set[str]:
    """Names that are also something else somewhere in the module, which a token cannot tell apart."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, (ast.arg, ast.keyword)):
            found.add(node.arg or "")
        elif isinstance(node, ast.ClassDef):
            found |= _private_names(ast.Module(node.body, []))
        elif isinstance(node, ast.JoinedStr):  # its inside is one token
            found |= {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}
    return found


def _replaced(source: str, short: dict[str, str]) -> str:
    """Token by token, from the end of each line, so that places before it stay true."""
    lines = source.splitlines(keepends=True)
    tokens = [token for token in tokenize.generate_tokens(io.StringIO(source).readline) if token.type == tokenize.NAME]
    for token in reversed(tokens):
        if token.string in short:
            row, column = token.start
            line = lines[row - 1]
            lines[row - 1] = line[:column] + short[token.string] + line[column + len(token.string) :]
    return "".join(lines)
