"""The table and the finding on work launched before the window."""

from __future__ import annotations

from perfkit.analysis.attribution.attribute import Phase, attribute
from perfkit.analysis.time.account import Account, Selection, account_for
from perfkit.analysis.time.summary import summary
from perfkit.analysis.time.unlaunched import matched_unlaunched, unlaunched_table
from perfkit.schema.finding import Cost
from tests.analysis.attribution.test_repeats import Stream, forward
from tests.analysis.columns import assert_regular
from tests.builders import TraceBuilder


def account(b: TraceBuilder, **selection) -> Account:
    trace = b.build()
    return account_for(trace, attribute(trace), Selection(**selection))


def busy() -> TraceBuilder:
    """The last 20 of a pass of 51 kernels, a stray one in front of them that never comes again, then two passes.

    Of the 20, 18 are in layers (three times six), and one each is the last norm and the head; each takes 5 ns.
    """
    return Stream().before([("", "stray"), *forward()[-20:]]).inside(forward() * 2).trace


def test_a_row_for_each_component_and_one_for_the_rest():
    table = unlaunched_table(account(busy()).partial)
    assert_regular(table)
    rows = [tuple(row) for row in table.frame[["component", "matched", "count", "total_ns"]].itertuples(index=False)]
    assert rows == [
        ("layers.*.attn", "by pattern", 9, 45), ("layers.*.mlp", "by pattern", 6, 30),
        ("layers.*.norm", "by pattern", 3, 15), ("head", "by pattern", 1, 5), ("norm", "by pattern", 1, 5),
        ("<unattributed>", "", 1, 5),
    ]  # fmt: skip
    assert table.pinned == 1


def test_numbers_in_a_users_ranges_fold_too():
    """GIVEN layers that are a user's own ranges WHEN work of theirs came before the window THEN no row says which"""
    parts = [(f"layers.{layer}.{part}", f"{part} {k}") for layer in range(2) for part in ("a", "m") for k in range(2)]
    b = Stream().before(parts).inside(parts * 6, scope="").trace
    frame = unlaunched_table(account(b).partial).frame
    assert set(frame["component"]) == {"layers.*.a", "layers.*.m"}


def test_a_users_range_has_no_number_of_a_layer():
    """GIVEN one range `layer 0` of the user's WHEN it ran before the window too THEN it is `layer *`"""
    work = [("layer 0", f"k{number}") for number in range(40)]
    trace = Stream().before(work).inside(work * 3, scope="").trace
    assert unlaunched_table(account(trace).partial).frame["component"].tolist() == ["layer *"]


def test_it_adds_up_to_the_phase_and_changes_no_other_number():
    whole = account(busy())
    scalars = summary(whole.partial)
    unlaunched = int(whole.total[whole.phase == Phase.UNLAUNCHED].sum())
    assert unlaunched_table(whole.partial).frame["total_ns"].sum() == unlaunched == 105
    assert scalars["unattributed_reasons_ns"] == {"unlaunched": 105}


def test_the_finding_says_how_much_has_a_component():
    finding = matched_unlaunched(account(busy()), {})
    assert finding is not None
    assert finding.what == (
        "20 of 21 device events launched before the window repeat work in it (100.0 ns, 95.2% of their time):"
        " the table unlaunched has their components"
    )
    assert finding.cost == Cost(100, 100 / (105 + 2 * 51 * 5))
    assert finding.sure == "derived"


def test_without_such_work_there_is_nothing():
    inside = account(Stream().inside(forward()).trace)
    assert matched_unlaunched(inside, {}) is None
    assert unlaunched_table(inside.partial).frame.empty
    host = account(TraceBuilder().range("aten::mm", 0, 5))
    assert matched_unlaunched(host, {}) is None
    only = account(Stream().before([("", "stray")]).inside(forward()).trace, phase=Phase.UNLAUNCHED)
    assert matched_unlaunched(only, {}) is None
    assert unlaunched_table(only.partial).frame["component"].tolist() == ["<unattributed>"]
