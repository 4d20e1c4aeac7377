"""What each block keeps for backward, by lifetimes and by hooks, and the gradients that it makes."""

from __future__ import annotations

from perfkit.analysis.memory.recorded import account, saved, snapshot
from perfkit.analysis.memory.recorded.account import MemoryAccount
from perfkit.schema.memory.notes import MemoryNotes, SavedOperation
from tests.analysis.columns import assert_regular
from tests.analysis.memory.recorded import training
from tests.analysis.memory.recorded.snapshots import columns


def accounted(notes: MemoryNotes | None = None) -> MemoryAccount:
    lives = snapshot.lifetimes(columns(training.step()))
    return MemoryAccount(lives, account.the_peak(lives), notes=notes)


def test_a_block_keeps_what_its_forward_made_and_backward_freed():
    """64 of scores and 40 of output a block; 100 of gradients. Logits (500) and loss (8) outlive backward."""
    table = saved.saved(accounted())
    assert_regular(table)
    rows = table.frame.set_index("block")[["bytes", "gradient_bytes", "returned_bytes"]].to_dict("split")
    assert dict(zip(rows["index"], rows["data"], strict=True)) == {
        "": [52, 2000, -1948], "block 0": [104, 100, 4], "block 1": [104, 100, 4],
    }  # fmt: skip


def test_the_operations_of_a_block_add_up_to_what_it_keeps():
    table = saved.operations(accounted())
    assert_regular(table)
    block = table.frame[table.frame["block"] == "block 0"]
    assert block["bytes"].tolist() == [64, 40]
    assert block["operation"].tolist()[0] == "aten::softmax, attn.py(7): softmax < block.py(3): forward"
    assert block["share"].sum() == 1


def test_hooks_stand_beside_and_name_the_operations():
    """GIVEN seven operations by hooks, THEN five have a row, and the rest one."""
    kept = tuple(
        SavedOperation(scope="block 0.attn", operation=f"Op{size}", shape=(size,), dtype="bool", size=size, address=0)
        for size in range(11, 18)
    )  # fmt: skip
    found = accounted(MemoryNotes(saved=kept))
    assert saved.saved(found).frame.set_index("block")["hooks_bytes"]["block 0"] == 98
    rows = saved.operations(found).frame
    assert rows["operation"].tolist() == [f"attn: Op{size}" for size in (17, 16, 15, 14, 13)] + ["2 others"]
    assert rows["bytes"].tolist() == [17, 16, 15, 14, 13, 23]


def test_a_block_is_the_outermost_part_that_has_others_beside_it():
    names = [
        "layers.3.attn",
        "layers.3",
        "head",
        "",
        "Net_0/Layer_23/MLP_1",
        "Net_0/Layer_2",
        "Net_0",
        "conv1d",
        "block 1",
    ]
    assert list(saved.blocks_of([*names, "block 0"]).values()) == [
        "layers.3", "layers.3", "head", "", "Net_0/Layer_23", "Net_0/Layer_2", "Net_0", "conv1d", "block 1", "block 0",
    ]  # fmt: skip


def test_a_recording_without_backward_keeps_nothing_for_it():
    raw = training.step()
    raw["device_traces"] = [training.forward()]
    lives = snapshot.lifetimes(columns(raw))
    found = MemoryAccount(lives, account.the_peak(lives))
    assert (len(saved.saved(found)), len(saved.operations(found))) == (0, 0)
