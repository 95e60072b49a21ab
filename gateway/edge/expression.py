"""Boolean combinations in CEL: compiled once, names and types checked when the file is read, cost bounded.

Only comparison, arithmetic and logic are let through: no call, no list, no loop. So the cost of an evaluation is
bounded by the length of the expression, which is bounded too. Types are checked by trying it out on hundreds of values,
because the library has no checker of its own. Source: github.com/google/cel-spec, doc/langdef.md.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import itertools
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from gateway.config_alarm import RuleConfig
from gateway.errors import ConfigError, GatewayError

_LONGEST = 500
_MOST_NAMES = 16
_TRIES = 256
_OPERATORS = frozenset(
    ["!_", "_&&_", "_||_", "_?_:_", "_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_", "_+_", "_-_", "_*_", "_/_", "-_"]
)
_SAMPLES = (-1e6, -40.5, -1.0, 0.5, 1.0, 2.0, 20.25, 1e6)  # no 0: dividing by a reading that is 0 has a meaning
_NOT_A_NAME = re.compile(r"[^A-Za-z0-9_]")


class ExpressionError(GatewayError):
    """An evaluation went wrong: the rule stays as it is."""


class Expression:
    """One expression.

    quantities  names of quantities it uses, as they stand in it: - : . / of a quantity are written _
    rules       names of rules it uses
    """

    def __init__(self, text: str, rules: Iterable[str]) -> None:
        """Raises ValueError saying what is wrong with `text`."""
        if len(text) > _LONGEST:
            raise ValueError(f"must be at most {_LONGEST} characters")
        self._program = _compiled(text)
        names = self._program.variables()
        known = set(rules)
        self.rules = tuple(name for name in names if name in known)
        self.quantities = tuple(name for name in names if name not in known)
        if not names or len(names) > _MOST_NAMES:
            raise ValueError(f"must use 1 to {_MOST_NAMES} names of quantities or rules")
        self._try_out()

    def is_true(self, values: Mapping[str, float | bool]) -> bool:
        """Evaluate. Raises ExpressionError."""
        try:
            result = self._program.execute(dict(values))
        except (ValueError, TypeError, RuntimeError, OverflowError, ZeroDivisionError) as error:
            raise ExpressionError(str(error).splitlines()[0]) from None
        if not isinstance(result, bool):
            raise ExpressionError(f"gives {type(result).__name__}, not true or false")
        return result

    def _try_out(self) -> None:
        for values in self._assignments():
            try:
                self.is_true(values)
            except ExpressionError as error:
                raise ValueError(f"is no condition: {error}; write numbers with a point, as in 2.0") from None

    def _assignments(self) -> Iterable[dict[str, float | bool]]:
        """Every combination of the rules, with chosen values; the same ones each time."""
        chance = random.Random(0)
        states = itertools.islice(itertools.product((False, True), repeat=len(self.rules)), _TRIES)
        for told in states:
            for _ in range(max(8, _TRIES >> len(self.rules))):
                values: dict[str, float | bool] = {name: chance.choice(_SAMPLES) for name in self.quantities}
                yield values | dict(zip(self.rules, told, strict=True))


def name_of(quantity: str) -> str:
    """How a quantity is written in an expression."""
    return _NOT_A_NAME.sub("_", quantity)


def check_rules(rules: Sequence[RuleConfig], actions: Sequence[str]) -> None:
    """What rules say of each other, of actions, and in CEL. Raises ConfigError."""
    names = [rule.name for rule in rules]
    for at, rule in enumerate(rules):
        for action in rule.actions:
            if action not in actions:
                known = f"known: {', '.join(actions)}" if actions else "there is no [[edge.action]]"
                raise ConfigError(f"rule[{at}].actions", action, f"is no action; {known}")
        if rule.expression is not None:
            try:
                used = Expression(rule.expression, names)
            except ValueError as error:
                raise ConfigError(f"rule[{at}].expression", rule.expression, str(error)) from None
            later = [name for name in used.rules if name not in names[:at]]
            if later:
                raise ConfigError(f"rule[{at}].expression", later[0], "is no rule further up; put that one first")


@cache
def _library() -> Any:
    """The library's compiled part alone: its front imports a command line of its own, 25 MiB and half a second."""
    package = importlib.util.find_spec("cel")
    for folder in (package.submodule_search_locations or ()) if package else ():
        spec = importlib.machinery.PathFinder.find_spec("cel", [folder])
        if spec is not None and isinstance(spec.loader, importlib.machinery.ExtensionFileLoader):
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    return importlib.import_module("cel")


def _compiled(text: str) -> Any:
    try:
        program = _library().compile(text)
    except ValueError as error:
        raise ValueError(f"is not CEL: {' '.join(str(error).split())}") from None
    alien = [name for name in program.functions() if name not in _OPERATORS]
    if alien or "[" in text or "{" in text or '"' in text or "'" in text:
        raise ValueError(
            f"may compare, calculate and combine only; {alien[0]!r} is not allowed"
            if alien
            else "may hold neither text nor lists"
        )
    return program
