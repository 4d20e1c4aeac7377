"""Rules about memory: at their limits and below them, and what their sentences say. Numbers are by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from perfkit.analysis.attribution.phase_words import Phase
from perfkit.analysis.findings.memory import catalogue, checkpoints, fragments, growth, logits, optimizer, scores
from perfkit.analysis.memory.lifetimes import Kind
from perfkit.analysis.memory.recorded.live import Peak
from perfkit.schema.finding import Finding
from tests.analysis.memory.lives import Piece, account_of, span
from tests.analysis.memory.recorded.snapshots import block, columns, pickled

MIB = 2**20


def weights(size: int) -> Piece:
    return Piece(size, kind=Kind.PARAMETERS)


def told(finding: Finding | None) -> Finding:
    assert finding is not None
    return finding


@pytest.mark.parametrize(("of_loss", "is_found"), [(100, True), (99, False)])
@pytest.mark.parametrize(
    "known",
    [
        {"scope": "loss"},
        {"scope": "model.lm_head"},
        {"operator": "NllLossBackward0"},
        {"place": "nn.py(3): log_softmax"},
    ],
)
def test_logits_and_loss_from_a_tenth_of_the_peak(known, of_loss, is_found):
    account = account_of(weights(1000 - of_loss), Piece(of_loss, kind=Kind.ACTIVATIONS, **known))
    found = logits.logits_peak(account)
    assert (found is not None) == is_found
    if found is not None:
        assert found.what == "logits and loss hold 100 B (10.0%) at the peak, in 1 tensor: the largest is 100 B"
        assert found.cost.share == pytest.approx(0.1 * 7 / 8)
        assert "chunks" in found.advice


def test_tensors_of_no_known_layer_that_are_as_large_as_logits_are_of_the_loss():
    """GIVEN log-probabilities of 2 MiB and a gradient of theirs that says nothing but its size THEN both count."""
    alike = Piece(2 * MIB, kind=Kind.TEMPORARIES, phase=Phase.BACKWARD)
    known = Piece(2 * MIB, kind=Kind.ACTIVATIONS, place="nn.py(3): log_softmax")
    other = Piece(3 * MIB, kind=Kind.TEMPORARIES, phase=Phase.BACKWARD)
    found = told(logits.logits_peak(account_of(known, alike, other, weights(3 * MIB))))
    assert found.what.startswith("logits and loss hold 4.0 MiB (40.0%) at the peak, in 2 tensors")


@pytest.mark.parametrize(("kept", "is_found"), [(50, True), (49, False)])
def test_scores_that_are_kept_from_a_twentieth_of_the_peak(kept, is_found):
    """GIVEN softmax in a layer's scope THEN it counts; a loss has a softmax too, which does not."""
    of_loss = Piece(200, kind=Kind.ACTIVATIONS, place="nn.py(3): log_softmax", operator="aten::exp")
    account = account_of(
        weights(800 - kept), Piece(kept, kind=Kind.ACTIVATIONS, scope="layers.0.attn.softmax"), of_loss
    )
    found = scores.kept_scores(account)
    assert (found is not None) == is_found
    if found is not None:
        assert "attention scores are kept for backward: 50 B (5.00%) at the peak, 1 tensor of 50 B" in found.what
        assert "square of the context" in found.what
        assert "scaled_dot_product_attention" in found.advice


def test_scores_of_a_foreign_program_are_those_of_its_softmax_and_of_attention():
    """GIVEN a softmax of 64 B, a mask of a quarter of it, and attention's output, THEN the output is none of them."""
    made = [
        Piece(64, kind=Kind.ACTIVATIONS, place="nn.py(6): softmax < model.py(9): attention"),
        Piece(16, kind=Kind.ACTIVATIONS, place="model.py(8): attention"),
        Piece(40, kind=Kind.ACTIVATIONS, place="model.py(10): attention"),
    ]
    assert "80 B (50.0%)" in told(scores.kept_scores(account_of(*made, weights(40)))).what


@pytest.mark.parametrize(("state", "is_found"), [(300, True), (299, False)])
def test_state_of_the_optimizer_from_three_tenths_of_the_peak(state, is_found):
    found = optimizer.optimizer_state(account_of(weights(1000 - state), Piece(state, kind=Kind.OPTIMIZER)))
    assert (found is not None) == is_found
    if found is not None:
        assert found.what == "the optimizer's state is 300 B (30.0%) of the peak"
        assert found.cost.share == pytest.approx(0.225)  # three quarters of it
        assert "8 bits" in found.advice


@pytest.mark.parametrize(("working", "is_found"), [(50, True), (49, False)])
def test_what_the_optimizer_computes_with_from_a_twentieth_of_the_peak(working, is_found):
    piece = Piece(working, 1, 2, Kind.TEMPORARIES, phase=Phase.OPTIMIZER)
    found = optimizer.optimizer_temporaries(account_of(weights(1000 - working), piece))
    assert (found is not None) == is_found
    if found is not None:
        assert "50 B (5.00%) of the peak, in 1 tensor" in found.what
        assert "--optimizer adamw-fused" in found.advice


@pytest.mark.parametrize(("others", "is_found"), [(94, True), (95, False)])
def test_a_peak_in_the_optimizer_that_nothing_else_comes_near(others, is_found):
    """GIVEN 100 B in the optimizer THEN it is said where forward and backward reach less than 95% of that."""
    pieces = (
        weights(50), Piece(others - 50, 0, 1, Kind.ACTIVATIONS, phase=Phase.FORWARD),
        Piece(50, 2, 3, Kind.TEMPORARIES, phase=Phase.OPTIMIZER),
    )  # fmt: skip
    spans = (span(0, 0, Phase.FORWARD), span(1, 1, Phase.BACKWARD), span(2, 3, Phase.OPTIMIZER))
    found = optimizer.optimizer_peak(account_of(*pieces, spans=spans))
    assert (found is not None) == is_found
    if found is not None:
        assert "forward and backward reach 94 B, 6.00% less" in found.what


@pytest.mark.parametrize(("free", "is_found"), [(64, True), (63, False)])
def test_fragmentation_from_64_mib_and_a_tenth(free, is_found):
    """GIVEN a segment of 512 MiB THEN what is neither requested nor rounding counts as free."""
    used = 512 - free
    raw = pickled([], blocks=[block(0, used * MIB), block(used * MIB, free * MIB, state="inactive")], total=512 * MIB)
    snapshot = columns(raw)
    account = account_of(Piece(used * MIB), snapshot=snapshot)
    found = fragments.fragmentation(account)
    assert (found is not None) == is_found
    if found is not None:
        assert "64.0 MiB of the 512.0 MiB that the allocator has from the driver at the peak (12.5%)" in found.what
        assert "expandable_segments:True" in found.advice
        already = replace(account, snapshot=replace(snapshot, settings={"expandable_segments": True}))
        assert "expandable" not in told(fragments.fragmentation(already)).advice


def test_no_allocator_no_fragmentation():
    assert fragments.fragmentation(account_of(weights(2**30))) is None


def leak(*steps: int) -> Finding | None:
    """Of three steps of three events each, these leave 10 B behind."""
    pieces = [Piece(10, 3 * step + 1, scope="log", step=step, place="train.py(7): step") for step in steps]
    spans = []
    for number in range(4):
        first = 3 * number
        spans += [span(first, first + 1, Phase.FORWARD, number), span(first + 2, first + 2, Phase.BACKWARD, number)]
    return growth.growing_memory(account_of(weights(100), *pieces, spans=spans))


def test_memory_that_steps_leave_behind_in_one_place():
    found = told(leak(0, 1, 2))
    assert found.what == (
        "memory grows by 10 B a step: 3 steps left 30 B (23.1%) behind, most of it made in log at train.py(7): step"
    )
    assert found.where == "log"


def test_what_one_step_leaves_behind_is_no_leak():
    """THEN it is as the optimizer's state, which the first step makes."""
    assert leak(0) is None


def trained(*, after: int = 0) -> list[Piece]:
    """Two blocks keep 40 B each and hand on 10 B; the second runs backward first. `after`: B in the optimizer."""
    pieces = [weights(100)]
    for number, begin, end in ((0, 0, 8), (1, 2, 6)):
        scope = f"layers.{number}"
        pieces += [
            Piece(30, begin, end, Kind.ACTIVATIONS, f"{scope}.mlp", Phase.FORWARD, step=0),
            Piece(10, begin + 1, end, Kind.ACTIVATIONS, scope, Phase.FORWARD, step=0),
            Piece(5, end - 1, 9, Kind.GRADIENTS, f"{scope}.mlp", Phase.BACKWARD, step=0),
        ]
    return [*pieces, Piece(after, 9, 10, Kind.TEMPORARIES, phase=Phase.OPTIMIZER, step=0)]


SPANS = (span(0, 3, Phase.FORWARD), span(4, 8, Phase.BACKWARD), span(9, 10, Phase.OPTIMIZER))


def test_what_checkpointing_takes_off_the_peak():
    """The peak: 100 + 80 kept + 5 of a gradient = 185. Checkpointed: 100 + 2 x 10 + (40 - 10) of a block + 5 = 155."""
    found = told(checkpoints.checkpointing(account_of(*trained(), spans=SPANS)))
    assert found.rule is checkpoints.CHECKPOINTING
    assert found.what == (
        "2 blocks keep 80 B for backward: checkpointing each would keep their inputs (10 B each) and compute the rest"
        " twice, for a peak of 155 B, 16.2% less"
    )
    assert "--checkpoint" in found.advice


def test_checkpointing_does_not_help_where_the_optimizer_is_as_high():
    """GIVEN 84 B in the optimizer, beside 100 of parameters, THEN the peak falls from 185 to 184 only."""
    found = told(checkpoints.checkpointing(account_of(*trained(after=84), spans=SPANS)))
    assert found.rule is checkpoints.NO_CHECKPOINTING
    assert found.what.endswith("but checkpointing them would lower the peak by 0.54% only")
    found = told(checkpoints.checkpointing(account_of(*trained(after=85), spans=SPANS)))
    assert found.what.endswith("but checkpointing them would not lower the peak")


def test_nothing_is_said_of_checkpointing_where_it_is_done():
    again = Piece(1, 7, 8, Kind.ACTIVATIONS, "layers.0", Phase.RECOMPUTE)
    assert checkpoints.checkpointing(account_of(*trained(), again, spans=SPANS)) is None


def test_most_bytes_at_stake_come_first():
    account = account_of(weights(100), Piece(700, kind=Kind.ACTIVATIONS, scope="loss"), Piece(600, kind=Kind.OPTIMIZER))
    assert [finding.rule.id for finding in catalogue.findings(account)] == ["logits-peak", "optimizer-state"]


def test_findings_are_about_the_peak_whatever_moment_is_looked_at():
    """GIVEN a moment before the loss, with only the weights and state of the optimizer THEN the state is not 50%."""
    state = Piece(100, kind=Kind.OPTIMIZER)
    account = account_of(weights(100), state, Piece(800, 1, kind=Kind.ACTIVATIONS, scope="loss"))
    earlier = replace(account, at=Peak(account.at.device, 200, 0))
    assert catalogue.findings(earlier) == catalogue.findings(account)
    assert [finding.what.partition(" at")[0] for finding in catalogue.findings(earlier)] == [
        "logits and loss hold 800 B (80.0%)"
    ]


def test_a_recording_of_nothing_has_no_findings():
    assert catalogue.findings(account_of()) == ()
