"""Mangled C++ names, as the Itanium C++ ABI has them (itanium-cxx-abi.github.io/cxx-abi/abi.html, section 5.1).

What profilers leave mangled is what libstdc++'s demangler does not know: template parameters of C++20 (`TnPFT_RKS3_E`),
the 16-bit types of `DF16_` and `DF16b`. Only a function's name and its template arguments are read, in GNU's spelling;
what follows, its return type and its parameters, tells no kernels apart that these do not.
"""

from __future__ import annotations

from collections.abc import Callable

from perfkit.analysis.kernels.names import LOOKED_AT

_DEEPEST = 100
"""Names nested in names; the deepest in the traces at hand has 12."""
_LONGEST = 20_000
"""Characters of what is made of a name: substitutions let a short one stand for a text of any length."""

_BUILTIN = {
    "v": "void", "w": "wchar_t", "b": "bool", "c": "char", "a": "signed char", "h": "unsigned char", "s": "short",
    "t": "unsigned short", "i": "int", "j": "unsigned int", "l": "long", "m": "unsigned long", "x": "long long",
    "y": "unsigned long long", "n": "__int128", "o": "unsigned __int128", "f": "float", "d": "double",
    "e": "long double", "g": "__float128", "z": "...",
}  # fmt: skip
_EXTENDED = {
    "d": "decimal64", "e": "decimal128", "f": "decimal32", "h": "half", "i": "char32_t", "s": "char16_t",
    "u": "char8_t", "a": "auto", "c": "decltype(auto)", "n": "decltype(nullptr)",
}  # fmt: skip
_STANDARD = {
    "a": "std::allocator", "b": "std::basic_string", "s": "std::string", "i": "std::istream", "o": "std::ostream",
    "d": "std::iostream",
}  # fmt: skip
_QUALIFIER = {
    "P": "*",
    "R": "&",
    "O": "&&",
    "K": " const",
    "V": " volatile",
    "r": " restrict",
    "C": " _Complex",
    "G": " _Imaginary",
}
_SUFFIX = {"j": "u", "l": "l", "m": "ul", "x": "ll", "y": "ull"}
_OPERATOR = {
    "cl": "operator()",
    "ix": "operator[]",
    "pl": "operator+",
    "mi": "operator-",
    "ml": "operator*",
    "aS": "operator=",
}


class _NotReadError(ValueError):
    """The name is no mangled one, is cut off, or has what this reader does not know."""


def demangled(name: str) -> str | None:
    """`at::f<4, float>` of a mangled function's name, without its parameters; None for what cannot be read."""
    if not name.startswith("_Z"):
        return None
    try:
        return _Reader(name[2:LOOKED_AT]).name()[0]
    except (_NotReadError, IndexError, KeyError, RecursionError):
        return None


class _Reader:
    """Reads a mangled name from its beginning, each production of the grammar by the method of its name."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.depth = 0
        self.known: list[str] = []
        """What substitutions stand for, in their order."""

    # --- characters ----------------------------------------------------------------------------------------------

    def next(self, *texts: str) -> str:
        """Which of these stands here, taken; empty for none."""
        found = next((text for text in texts if self.text.startswith(text, self.at)), "")
        self.at += len(found)
        return found

    def until(self, end: str) -> str:
        """What stands before `end`, which is taken, too."""
        stop = self.text.find(end, self.at)
        if stop < 0:
            raise _NotReadError(end)
        found, self.at = self.text[self.at : stop], stop + len(end)
        return found

    def digits(self) -> str:
        start = self.at
        while self.text[self.at : self.at + 1].isdigit():
            self.at += 1
        return self.text[start : self.at]

    def several(self, read: Callable[[], str], end: str = "E") -> list[str]:
        """What `read` reads, up to `end`. An empty pack of arguments is nothing."""
        found = []
        while not self.next(end):
            if self.at >= len(self.text):
                raise _NotReadError(end)
            found.append(read())
        return [text for text in found if text]

    def keep(self, text: str) -> str:
        """A text that later ones can refer to."""
        if len(text) > _LONGEST:
            raise _NotReadError("too long")
        self.known.append(text)
        return text

    # --- names ---------------------------------------------------------------------------------------------------

    def name(self) -> tuple[str, bool]:
        """A function's or a type's name; and whether it is known already, as substitutions are."""
        if self.next("N"):
            return self.nested(), False
        if self.next("Z"):
            return self.local(), False
        is_known = False
        if self.text[self.at] == "S" and self.text[self.at + 1] != "t":
            text, is_known = self.substitution(), True
        else:
            text = ("std::" if self.next("St") else "") + self.unqualified()
        if self.text[self.at : self.at + 1] == "I":
            if not is_known:
                self.keep(text)
            text, is_known = text + self.arguments(), False
        return text, is_known

    def nested(self) -> str:
        """N a b c E, where every front is a name of its own."""
        while self.next("r", "V", "K", "R", "O"):
            pass
        front, is_kept = "", False
        while not self.next("E"):
            here = self.text[self.at]
            is_kept = True
            if here == "S" and self.text[self.at + 1] != "t":
                front, is_kept = self.substitution(), False
                continue
            if here == "I":
                front += self.arguments()
            elif here == "T":
                front = self.parameter()
            elif here == "D" and self.text[self.at + 1] in "tT":
                front = self.decltype()
            elif self.next("St"):
                front, is_kept = "std", False
                continue
            else:
                front = f"{front}::{self.unqualified()}" if front else self.unqualified()
            self.keep(front)
        if is_kept:
            self.known.pop()  # the whole is no front of anything; as a type it is kept by whoever asked
        return front

    def local(self) -> str:
        """Z function E what stands in it."""
        outer = self.encoding()
        if not self.next("E"):
            raise _NotReadError("E")
        if self.next("s"):
            inner = "string literal"
        elif self.next("d"):
            self.digits()
            self.next("_")
            inner = self.name()[0]
        else:
            inner = self.name()[0]
        if self.next("_"):
            self.digits()
        return f"{outer}::{inner}"

    def encoding(self) -> str:
        """A function with its parameters, as it stands in another's name."""
        text = self.name()[0]
        while self.at < len(self.text) and self.text[self.at] not in "E.":
            self.type()
        return text

    def unqualified(self) -> str:
        self.next("L")
        if self.text[self.at].isdigit():
            length = int(self.digits())
            word, self.at = self.text[self.at : self.at + length], self.at + length
            if len(word) < length:
                raise _NotReadError("cut off")
            word = "(anonymous namespace)" if word.startswith("_GLOBAL__N") else word
        elif self.next("Ul"):
            types = ", ".join(text for text in self.several(self.type) if text != "void")
            word = f"{{lambda({types})#{self.number()}}}"
        elif self.next("Ut"):
            word = f"{{unnamed#{self.number()}}}"
        elif self.text[self.at] in "CD" and self.text[self.at + 1].isdigit():
            word, self.at = "{constructor}", self.at + 2
        else:
            word = self.operator()
        while self.next("B"):
            word += f"[{self.unqualified()}]"
        return word

    def operator(self) -> str:
        code, self.at = self.text[self.at : self.at + 2], self.at + 2
        if code == "cv":
            return f"operator {self.type()}"
        if not (code.isalpha() and code[0].islower()):
            raise _NotReadError(code)
        return _OPERATOR.get(code, f"operator {code}")

    def number(self) -> int:
        """[n] _ of things that have no name: the first has none."""
        digits = self.digits()
        if not self.next("_"):
            raise _NotReadError("_")
        return int(digits) + 2 if digits else 1

    def substitution(self) -> str:
        self.at += 1
        if code := self.next(*_STANDARD):
            return _STANDARD[code]
        return self.known[self._place(36)]

    def parameter(self) -> str:
        """T_: a template parameter, which only generic code shows."""
        self.at += 1
        return f"T{self._place(10)}"

    def _place(self, base: int) -> int:
        digits = self.until("_")
        return int(digits, base) + 1 if digits else 0

    # --- types and template arguments ------------------------------------------------------------------------------

    def type(self) -> str:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise _NotReadError("too deep")
        text = self._type()
        self.depth -= 1
        return text

    def _type(self) -> str:
        here = self.text[self.at]
        if here in _BUILTIN:
            self.at += 1
            return _BUILTIN[here]
        if here == "D":
            return self.extended()
        if here in _QUALIFIER:
            self.at += 1
            return self.keep(self.type() + _QUALIFIER[here])
        if self.next("u"):
            return self.unqualified()
        if self.next("U"):
            vendor = self.unqualified()
            return self.keep(f"{self.type()} {vendor}")
        if self.next("F"):
            returned, *given = self.several(self.type)
            return self.keep(f"{returned} ({', '.join(given)})")
        if self.next("A"):
            size = self.until("_")
            return self.keep(f"{self.type()} [{size}]")
        if self.next("M"):
            owner = self.type()
            return self.keep(f"{self.type()} {owner}::*")
        if here == "T" and self.text[self.at + 1] not in "sue":
            text = self.keep(self.parameter())
            return self.keep(text + self.arguments()) if self.text[self.at : self.at + 1] == "I" else text
        self.next("Ts", "Tu", "Te")
        text, is_known = self.name()
        return text if is_known else self.keep(text)

    def extended(self) -> str:
        """Types that begin with D."""
        if self.next("Dp"):
            return self.type()
        if self.next("DF"):
            bits, kind = self.digits(), self.next("b", "x", "_")
            return "std::bfloat16_t" if kind == "b" else f"_Float{bits}"
        if self.next("Dv"):
            size = self.until("_")
            return self.keep(f"{self.type()} vector[{size}]")
        if self.next("Do"):
            return self.type()
        if self.text[self.at + 1] in "tT":
            return self.keep(self.decltype())
        text, self.at = _EXTENDED[self.text[self.at + 1]], self.at + 2
        return text

    def decltype(self) -> str:
        self.at += 2
        return f"decltype({', '.join(self.several(self.expression))})"

    def arguments(self) -> str:
        """I ... E"""
        self.at += 1
        return f"<{', '.join(self.several(self.argument))}>"

    def argument(self) -> str:
        if self.next("J"):
            return ", ".join(self.several(self.argument))
        if self.next("X"):
            return "".join(self.several(self.expression))
        if self.next("L"):
            return self.literal()
        if self.next("Tn"):  # C++20: the parameter's own declaration precedes its argument
            self.type()
            return self.argument()
        if self.next("Ty"):
            return self.argument()
        return self.type()

    def literal(self) -> str:
        if self.next("_Z", "Z"):
            text = self.encoding()
            self.next("E")
            return text
        code = self.text[self.at]
        kind = self.type()
        value = self.until("E")
        value = "-" + value[1:] if value.startswith("n") else value
        if code == "b":
            return "true" if value == "1" else "false"
        if code in "fde" or not value:
            return value or kind
        return value + _SUFFIX.get(code, "") if code in _BUILTIN else f"({kind}){value}"

    def expression(self) -> str:
        """The few that occur: an address, a literal, a parameter, a type; of an operator what it is applied to."""
        if self.next("L"):
            return self.literal()
        if self.next("ad"):
            return f"&{self.expression()}"
        if self.next("sr", "st", "sz", "sZ"):
            return self.type()
        if self.text[self.at] == "T":
            return self.parameter()
        if self.text[self.at].islower() and self.text[self.at + 1].islower():
            self.at += 2
            return self.expression()
        return self.unqualified() if self.text[self.at].isdigit() else self.type()
