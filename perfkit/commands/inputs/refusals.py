"""What the argument parser refuses, in one line as every other error, which says what to do."""

from __future__ import annotations

import re

from cyclopts import (
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    RepeatArgumentError,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
)

_OTHER_NAMES = {"markdown": "md", "text": "table"}
"""What people call a choice, where its spelling is unlike it."""
_TYPES = {"int": "a whole number", "float": "a number", "bool": "yes or no"}


def refusal(error: CycloptsError) -> str:
    """The error in words: what was typed, what it needs, and where to read more where it does not say that."""
    said = " ".join(str(error).split())
    choices = re.search(r"(?:Choose from|Available commands): (.*)\.$", said)
    meant = (re.search(r"Did you mean (\S+)\?", said) or ("", ""))[1] or _other_name(error, choices)
    name = error.argument.name if error.argument is not None else ""
    match error:
        case MissingArgumentError():
            text = _needed(error)
        case CoercionError(token=token) if token is not None and meant:
            text = f"{name} {token.value}: there is no such choice"
        case CoercionError(token=token) if token is not None and not choices:
            kind = _TYPES.get(getattr(error.target_type, "__name__", ""), "of another kind")
            text = f"{name} {token.value}: must be {kind}"
        case CoercionError(token=token) if token is not None:
            text = f"{name} {token.value}"
        case RepeatArgumentError(token=token):
            text = f"{token.keyword} is given twice: leave one out"
        case UnusedCliTokensError():
            text = f"{' '.join(error.unused_tokens or ())}: no flag before it takes it: leave it out, or add the flag"
        case UnknownOptionError(token=token):
            text = f"{token.keyword or token.value}: there is no such flag{_of_a_script(error)}"
        case UnknownCommandError():
            text = f"{' '.join(error.unused_tokens or ())}: there is no such command"
        case _:
            text = said.rstrip(".")
    if meant:
        return f"{text} (did you mean {meant}?)".replace('"', "")
    if choices:
        mark = ":" if isinstance(error, CoercionError) else ";"
        return f"{text}{mark} choose from {choices[1]}".replace('"', "")
    return f"{text}; see {' '.join(('perfkit', *(error.command_chain or ()), '--help'))}"


def _of_a_script(error: CycloptsError) -> str:
    """Where a script's flags go, where one is named before them."""
    named = any(token.endswith(".py") for token in error.root_input_tokens or ())
    return ", and a script's own go after --" if named and (error.command_chain or ())[:1] == ("run",) else ""


def _other_name(error: CycloptsError, choices: re.Match[str] | None) -> str:
    """The choice that was called something else; empty where there is none."""
    if not isinstance(error, CoercionError) or error.token is None or choices is None:
        return ""
    name = _OTHER_NAMES.get(error.token.value.lower(), "")
    return name if name in re.findall(r"[\w-]+", choices[1]) else ""


def _needed(error: MissingArgumentError) -> str:
    """`--plot needs a value`, `--run needs 2 values, and has 1`; a path is named, not given to a flag."""
    assert error.argument is not None
    wanted, _ = error.argument.token_count()
    there = len(error.tokens_so_far or ())
    name = error.argument.name
    if not name.startswith("-"):
        return f"{name} is missing: name one"
    text = f"{name} needs a value" if wanted <= 1 else f"{name} needs {wanted} values"
    return f"{text}, and has {there}" if there else text
