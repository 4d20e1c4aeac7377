"""Why large took 17.8 s when small took 0.3 and medium 0.9: someone's table of times, explained without a GPU."""

from __future__ import annotations

from perfkit.analysis.explained import card as cards
from perfkit.analysis.explained import reading, report
from perfkit.analysis.explained.reading import Defaults
from perfkit.analysis.study.question import Answer, Question, Results, Scope

_DEVICE = "RTX 4090 Laptop GPU"
_TABLE = """size,context,batch,mean,status
small,512,4,308.03 ms,ok
medium,512,4,928.49 ms,ok
large,512,4,17.8 s,ok
xl,512,4,,OOM
2.7B,512,4,,OOM
"""
"""Forward and backward in fp32 on that card, with 16 GB: the case that docs/case-large.md works out."""


def _explained(_: Scope, __: Results) -> Answer:
    rows = reading.read(_TABLE, Defaults())
    found = report.report(rows, cards.named(_DEVICE), "a table of times")
    first, *others = found.findings
    more = f"; {others[0].what}" if others else ""
    return Answer(
        sentence=first.what + more,
        advice=f"{first.advice}; perfkit explain results.csv --device '{_DEVICE}' for a table of your own",
        tables=found.tables,
        sure="derived",
    )


LARGE = Question(
    number=20,
    word="large",
    asks="Why did large take 17.8 s when small took 0.3 and medium 0.9?",
    needs=lambda _: [],
    answer=_explained,
    on_gpu="perfkit run --model-size large says whether it spills while it runs: the finding over-capacity",
)
