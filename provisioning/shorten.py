"""Short names for what a firmware module keeps to itself, so that a node's memory holds fewer of them.

MicroPython keeps every name of every module it ever loaded, in tables that double: one name too many costs 14 kB on the
virtual board. Names of a module's own functions, classes and values that begin with an underscore are seen by nobody
else, so the first of each module may be `_0`, the second `_1`, ... So may private attributes, not methods, that no
other module speaks of, unless their class inherits from another module's or is inherited from there: then one object
would hold two of a name. Lines stay where they are, and with them the line numbers of a traceback. Arguments and
everything public keep their names.
"""

import ast
import builtins
import io
import tokenize
from collections.abc import Mapping


def shorten(source: str, *, spoken_of: frozenset[str] = frozenset("*")) -> str:
    """The same module with its private names shortened. Folded constants (`const`) are left alone.

    spoken_of  what other modules speak of (spoken_of_elsewhere); unless given no attribute is shortened
    """
    tree = ast.parse(source)
    top = _private_names(tree)
    names = sorted(top - _seen_elsewhere(tree))
    if "*" not in spoken_of:
        names += sorted(_own_attributes(tree, spoken_of) - top)
    return _replaced(source, {name: f"_{index}" for index, name in enumerate(names)})


def spoken_of_elsewhere(sources: Mapping[str, str]) -> dict[str, frozenset[str]]:
    """For each module by name: every name, attribute, argument, class and text that the others hold, and each base."""
    spoken = {name: _words(ast.parse(source)) for name, source in sources.items()}
    return {one: frozenset().union(*(words for name, words in spoken.items() if name != one)) for one in sources}


def _own_attributes(tree: ast.Module, spoken_of: frozenset[str]) -> set[str]:
    """Private attributes of classes that only this module knows."""
    inside = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    found, kept = set(), _seen_elsewhere(tree, of_attributes=True) | spoken_of
    for one in inside.values():
        attributes = _attributes(one)
        if _base(one.name) in spoken_of or not all(_is_within(base, inside) for base in one.bases):
            kept |= attributes
        found |= attributes
    return {name for name in found - kept if name.startswith("_") and not name.startswith("__")}


def _attributes(one: ast.ClassDef) -> set[str]:
    """What is called by a dot in a class. Values and methods of the class itself are left alone (_seen_elsewhere)."""
    return {node.attr for node in ast.walk(one) if isinstance(node, ast.Attribute)}


def _base(name: str) -> str:
    """How `spoken_of` says that a class is inherited from."""
    return f"class ({name.rpartition('.')[2]})"


def _is_within(base: ast.expr, inside: Mapping[str, ast.ClassDef]) -> bool:
    return isinstance(base, ast.Name) and (base.id in inside or hasattr(builtins, base.id))


def _words(tree: ast.AST) -> set[str]:
    found = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Name, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.id if isinstance(node, ast.Name) else node.name)
            found |= {_base(ast.unparse(base)) for base in getattr(node, "bases", ())}
        elif isinstance(node, (ast.arg, ast.keyword)):
            found.add(node.arg or "")
        elif isinstance(node, ast.alias):
            found |= {node.name, node.asname or ""}
        elif isinstance(node, ast.Constant):
            found.add(str(node.value))
    return found


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


def _seen_elsewhere(tree: ast.Module, *, of_attributes: bool = False) -> set[str]:
    """Names that are also something else somewhere in the module, which a token cannot tell apart."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if of_attributes and isinstance(node, (ast.Name, ast.Constant)):
            found.add(node.id if isinstance(node, ast.Name) else str(node.value))
        elif isinstance(node, ast.Attribute) and not of_attributes:
            found.add(node.attr)
        elif isinstance(node, (ast.arg, ast.keyword)):
            found.add(node.arg or "")
        elif isinstance(node, ast.ClassDef):
            found |= _private_names(ast.Module(node.body, []))
        elif isinstance(node, ast.JoinedStr):  # its inside is one token
            found |= {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}
            found |= {name.attr for name in ast.walk(node) if isinstance(name, ast.Attribute)}
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
