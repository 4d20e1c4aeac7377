"""A kernel's name taken apart: what the function itself is called, and its template arguments.

Names come as C++ signatures (from GNU's demangler and from NVIDIA's), mangled as the Itanium C++ ABI has it, and as
plain words (Triton, cuBLAS, Tensile). A namespace says who wrote a kernel, not what it does: `flashinfer` has kernels
that are no attention, and most of `fbgemm_gpu` is no matmul. So namespaces are told apart, in arguments too.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import msgspec

from perfkit.regex import Regex

LOOKED_AT = 8192
"""Characters of a name; the longest in the traces at hand has 5,123."""

_TOKEN = Regex(r"\(anonymous namespace\)|<unnamed>|operator ?\(\)|::|[<>()\[\]{}]|\s+|[^\s:<>()\[\]{}]+|:")
_BRACKET = Regex(r"[<>()\[\]{}]")
_OPEN, _CLOSE = "<([{", ">)]}"
_MOST_ARGUMENTS = 200
_ENTITY = Regex(r"\b[A-Za-z_]\w*\b(?!\s*::)")
_NOISE = Regex(
    r"gpu_(index_)?kernel\w*|(load|store)_with\w*|\w*offset_calculator|\w*tensor_list_metadata|tensor_iterator\w*|lambda"
    r"|operator|const|void|unsigned|bool|char|int|long|float|double|half|[a-z]?float\d*_t|enable_\w+"
)
"""Words in template arguments that are about how a kernel runs, not what it does."""
_WORDS = Regex(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_DSL = Regex(r"^_{0,2}kernel_cutlass_(kernel_)?")
"""CuTe's Python DSL: kernel_cutlass_<function>_<module><class>_object_at__<arguments>."""
_DSL_ARGUMENTS = Regex(r"_{1,2}object_at_|_{1,2}tensorptr")

# Mangled: a literal's value, a substitution, a template parameter, a type with a number in it; or a length, behind
# which stands a name of that length.
_MANGLED = Regex(r"L[a-z]n?\d+E|S[\dA-Z]*_|T\d*_|D[Fv]\d+[_bx]?|A\d+_|(?<=E)\d+E|(\d+)")


class KernelName(msgspec.Struct, frozen=True):
    """The parts of a kernel's name, in lower case, `CamelCase` written as `camel_case`."""

    identifier: str
    """The function's own name."""
    qualified: str
    """With its namespaces, a::b::name."""
    arguments: tuple[str, ...]
    """Names in the template arguments, without namespaces, in their order, each once."""


def parse(name: str) -> KernelName:
    """Take a name apart, as far as LOOKED_AT, in time that grows with its length only. What it lacks is empty."""
    name = name[:LOOKED_AT]
    parts, arguments = _mangled(name) if name.startswith("_Z") else _signature(name)
    snake = [_snake(part) for part in parts] or [_snake(name)]
    words = dict.fromkeys(_snake(word) for word in arguments)
    telling = [word for word in islice(words, _MOST_ARGUMENTS) if not _NOISE.fullmatch(word)]
    return KernelName(snake[-1], "::".join(snake), tuple(telling))


def _snake(word: str) -> str:
    """`FusedAddRMSNormKernel` -> `fused_add_rms_norm_kernel`, without what compilers append: `.kd`, `.intern.0`."""
    text = _DSL.sub("", _WORDS.sub("_", word.partition(".")[0] or word).lower())
    return _DSL_ARGUMENTS.split(text, maxsplit=1)[0] or text


def _signature(name: str) -> tuple[list[str], list[str]]:
    """The components of the function's name before its parameters, and the names in its template arguments."""
    parts: list[str] = []
    depth, begin, arguments, is_new = 0, 0, "", False
    place = 0
    while match := (_BRACKET if depth else _TOKEN).search(name, place):
        token, place = match[0], match.end()
        if depth:
            depth += (token in _OPEN) - (token in _CLOSE)
            if not depth:
                arguments = name[begin : match.start()]
        elif token == "(":
            break  # the parameters
        elif token in _OPEN:
            depth, begin, arguments = 1, match.end(), ""
        elif token.isspace():
            is_new = True  # what stood before is a return type, if a name follows
        elif token not in (":", "::", *_CLOSE):
            parts = [token] if is_new else [*parts[-9:], token]
            is_new, arguments = False, ""
    return parts, _ENTITY.findall(name[begin:] if depth else arguments)


def _mangled(name: str) -> tuple[list[str], list[str]]:
    """The same of a mangled name. A name with another right behind it is a namespace."""
    parts: list[str] = []
    arguments: list[str] = []
    is_whole = False
    for word, is_namespace in _mangled_words(name):
        if not is_whole:
            parts = [*parts[-9:], word]
            is_whole = not is_namespace
        elif not is_namespace:
            arguments.append(word)
    return parts, arguments


def _mangled_words(name: str) -> Iterator[tuple[str, bool]]:
    place = 2
    while match := _MANGLED.search(name, place):
        place = match.end()
        length = int(match[1][-4:]) if match[1] else 0
        word = name[place : place + length]
        if word and word.isidentifier():
            place += length
            yield word, name[place : place + 1].isdigit()
