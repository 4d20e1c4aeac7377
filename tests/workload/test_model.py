"""The Transformer: its size, its mathematics (against a second implementation), causality, checkpointing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from perfkit.schema.config import RunConfig
from perfkit.workload import model as model_module
from perfkit.workload.model import Block, RMSNorm, RotaryEmbedding, Shared, Transformer, rotary_tables
from tests.runs import quick


def built(seed: int = 0, **changes: Any) -> Transformer:
    torch.manual_seed(seed)
    return Transformer(quick(**{"num_layers": 2, **changes}))


@pytest.fixture
def tokens() -> Tensor:
    return torch.randint(100, (2, 16), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("size", "parameters"),
    [
        ("tiny", 3_609_728),
        ("small", 128_625_408),
        ("medium", 423_183_360),
        ("large", 969_411_840),
        ("xl", 1_998_235_200),
        ("2.7B", 3_406_809_600),
    ],
)
def test_the_model_has_as_many_parameters_as_its_configuration_says(size, parameters):
    # WHEN
    config = RunConfig.of(model_size=size).resolved("cpu")
    with torch.device("meta"):
        model = Transformer(config)

    # THEN
    assert sum(p.numel() for p in model.parameters()) == parameters == config.transformer.parameters
    assert all(p.is_meta for p in model.parameters())


def test_overrides_shape_the_model():
    # WHEN
    model: Any = Transformer(quick(num_layers=3, d_model=48, d_ff=80, num_heads=4, vocab_size=70))

    # THEN
    assert len(model.layers) == 3
    assert model.embedding.weight.shape == model.head.weight.shape == (70, 48)
    assert model.layers[0].mlp.gate_proj.weight.shape == (80, 48)
    assert model.layers[0].attn.heads == 4
    assert model.embedding.weight is not model.head.weight
    assert not [name for name, _ in model.named_parameters() if name.endswith("bias")]


def reference(model: Transformer, tokens: Tensor) -> Tensor:
    """The same model written another way: complex numbers for RoPE, PyTorch's own norm and attention."""
    weights = dict(model.named_parameters())
    block: Any = model.layers[0]
    heads = block.attn.heads
    x = weights["embedding.weight"][tokens]
    d = x.shape[-1]

    def rotated(y: Tensor) -> Tensor:  # (b, h, t, e)
        e, t = y.shape[-1], y.shape[-2]
        frequency = 10_000.0 ** (-torch.arange(0, e, 2, dtype=torch.float64) / e)
        angle = torch.outer(torch.arange(t, dtype=torch.float64), frequency)
        turn = torch.polar(torch.ones_like(angle), angle)
        pairs = torch.view_as_complex(y.double().unflatten(-1, (e // 2, 2)))
        return torch.view_as_real(pairs * turn).flatten(-2).float()

    def split(y: Tensor) -> Tensor:
        return y.unflatten(-1, (heads, d // heads)).transpose(1, 2)

    for index in range(len(model.layers)):
        w = {name.removeprefix(f"layers.{index}."): weight for name, weight in weights.items()}
        y = F.rms_norm(x, (d,), w["attn_norm.weight"], eps=1e-5)
        q, k, v = (split(y @ w[f"attn.{name}_proj.weight"].T) for name in "qkv")
        mixed = F.scaled_dot_product_attention(rotated(q), rotated(k), v, is_causal=True)
        x = x + mixed.transpose(1, 2).flatten(2) @ w["attn.output_proj.weight"].T
        y = F.rms_norm(x, (d,), w["mlp_norm.weight"], eps=1e-5)
        gate, up = y @ w["mlp.gate_proj.weight"].T, y @ w["mlp.up_proj.weight"].T
        x = x + (gate * torch.sigmoid(gate) * up) @ w["mlp.down_proj.weight"].T
    return F.rms_norm(x, (d,), weights["norm.weight"], eps=1e-5) @ weights["head.weight"].T


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_the_model_computes_what_a_second_implementation_does(attention, tokens):
    # GIVEN gains other than one, so that they count
    model = built(attention=attention)
    for module in model.modules():
        if isinstance(module, RMSNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)

    # THEN
    with torch.no_grad():
        torch.testing.assert_close(model(tokens), reference(model, tokens), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("backend", ["auto", "math", "flash"])
def test_fused_attention_equals_eager_with_the_same_weights(backend, tokens):
    # GIVEN
    eager = built()
    fused = built(seed=5, attention="sdpa", sdpa_backend=backend)
    fused.load_state_dict(eager.state_dict())

    # WHEN
    outputs = [model(tokens) for model in (eager, fused)]
    for output in outputs:
        output.square().mean().backward()

    # THEN
    torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-4, atol=1e-4)
    for one, other in zip(eager.parameters(), fused.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-5)


def test_the_same_seed_gives_eager_and_fused_attention_the_same_weights():
    for one, other in zip(built().parameters(), built(attention="sdpa").parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_a_later_token_does_not_change_earlier_logits(attention, tokens):
    # GIVEN
    model, changed = built(attention=attention), tokens.clone()
    changed[:, 9] = (changed[:, 9] + 1) % 100

    # WHEN
    with torch.no_grad():
        before, after = model(tokens), model(changed)

    # THEN
    torch.testing.assert_close(before[:, :9], after[:, :9], rtol=0, atol=1e-6)
    assert ((before[:, 9:] - after[:, 9:]).abs().amax(-1) > 1e-3).all()


def test_a_sequence_may_be_shorter_than_the_context(tokens):
    model = built()
    with torch.no_grad():
        torch.testing.assert_close(model(tokens[:, :5]), model(tokens)[:, :5], rtol=0, atol=1e-6)


def test_rotary_embedding_makes_scores_depend_on_the_distance_alone():
    # GIVEN one query and one key, put at every position
    rope = RotaryEmbedding(rotary_tables(8, 12))
    q, k = torch.randn(2, 1, 1, 1, 8, generator=torch.Generator().manual_seed(0)).expand(2, 1, 1, 12, 8)

    # WHEN
    turned_q, turned_k = rope(q), rope(k)
    scores = (turned_q @ turned_k.mT)[0, 0]

    # THEN
    for distance in range(-11, 12):
        diagonal = scores.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal))
    assert scores[0].std() > 0.1
    torch.testing.assert_close(turned_q[..., 0, :], q[..., 0, :])
    torch.testing.assert_close(turned_q.norm(dim=-1), q.norm(dim=-1))


def test_rms_norm_works_in_fp32_and_answers_in_the_type_it_was_given():
    # GIVEN values whose squares no fp16 can hold
    norm, x = RMSNorm(4), torch.full((1, 4), 1000.0, dtype=torch.float16)

    # THEN
    assert norm(x).dtype == torch.float16
    torch.testing.assert_close(norm(x), torch.ones(1, 4, dtype=torch.float16))


def test_weights_are_drawn_from_cut_normal_distributions():
    # GIVEN
    model: Any = Transformer(quick(d_model=256, d_ff=256, vocab_size=1000))
    deviation = (2 / (256 + 256)) ** 0.5
    up = model.layers[0].mlp.up_proj.weight

    # THEN a normal distribution cut at three deviations keeps 98.7% of its deviation
    assert up.std().item() == pytest.approx(0.987 * deviation, rel=0.02)
    assert up.abs().max() <= 3 * deviation
    assert model.embedding.weight.std().item() == pytest.approx(0.987, rel=0.02)
    assert model.embedding.weight.abs().max() <= 3
    assert torch.equal(model.norm.weight, torch.ones(256))


@pytest.mark.parametrize(("attention", "pairs"), [("eager", 64 * 64), ("sdpa", 0)])
def test_only_eager_attention_makes_a_mask(monkeypatch, attention, pairs):
    """A mask takes a byte a pair of positions: 1 GiB at a context of 32,768, even where nobody keeps it."""
    # GIVEN
    made: list[Shared] = []

    def noted(**parts: Any) -> Shared:
        made.append(Shared(**parts))
        return made[-1]

    monkeypatch.setattr(model_module, "Shared", noted)

    # WHEN
    built(attention=attention, context_length=64)

    # THEN
    assert [shared.mask.numel() for shared in made] == [pairs]


def test_layers_share_their_constants():
    blocks: list[Any] = list(built().layers)
    assert blocks[0].attn.scores.mask is blocks[1].attn.scores.mask
    assert blocks[0].attn.rope.cos is blocks[1].attn.rope.cos


def test_buffers_are_not_part_of_the_state():
    assert set(built().state_dict()) == {name for name, _ in built().named_parameters()}


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_checkpointing_recomputes_and_changes_no_gradient(attention, tokens, monkeypatch):
    # GIVEN
    plain, thrifty = built(attention=attention), built(attention=attention, checkpoint=True)
    calls = {True: 0, False: 0}
    forward = Block.forward

    def counted(self: Block, x: Tensor) -> Tensor:
        calls[self in thrifty.layers] += 1
        return forward(self, x)

    monkeypatch.setattr(Block, "forward", counted)

    # WHEN
    outputs = [model(tokens) for model in (plain, thrifty)]
    for output in outputs:
        output.logsumexp(-1).mean().backward()

    # THEN
    assert calls == {False: 2, True: 4}
    assert torch.equal(*outputs)
    for one, other in zip(plain.parameters(), thrifty.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)


def test_groups_of_blocks_are_one_checkpoint_each(monkeypatch):
    """GIVEN five blocks in groups of two THEN three checkpoints; nested, the two of each whole group are ones, too"""
    calls: list[object] = []

    def noted(run: Any, *given: Any, **_: Any) -> Any:
        calls.append(run)
        return run(*given)

    monkeypatch.setattr(model_module, "checkpoint", noted)
    for nested, number in ((False, 3), (True, 3 + 4)):
        calls.clear()
        made = model_module.Transformer(quick(num_layers=5, checkpoint_every=2, checkpoint_nested=nested))
        made(torch.zeros(1, 4, dtype=torch.int64))
        assert len(calls) == number


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_the_size_of_groups_changes_no_bit(attention, tokens):
    """GIVEN four blocks WHEN checkpointed in groups of any size, nested or not THEN loss and gradients are the same"""

    def trained(**fields: Any) -> list[Tensor]:
        model = built(attention=attention, num_layers=4, **fields)
        loss = model(tokens).logsumexp(-1).mean()
        loss.backward()
        return [loss.detach(), *(parameter.grad for parameter in model.parameters())]

    plain = trained()
    for every in (1, 2, 3, 4, 6):
        for nested in (False, True):
            found = trained(checkpoint_every=every, checkpoint_nested=nested)
            assert all(torch.equal(one, other) for one, other in zip(plain, found, strict=True)), (every, nested)


def test_the_norm_of_small_numbers_is_held_by_its_epsilon():
    """GIVEN 0.003 all over, whose square is 9e-6 WHEN normalised with 1e-5 THEN 0.003 / sqrt(1.9e-5)"""
    found = RMSNorm(4)(torch.full((2, 4), 0.003))
    torch.testing.assert_close(found, torch.full((2, 4), 0.003 / 1.9e-5**0.5))


def test_angles_are_those_of_roformer():
    """GIVEN heads of width 4 WHEN turned THEN pair 0 by its position, and pair 1 by a hundredth of it (10000^(-2/4))"""
    cos, sin = rotary_tables(4, 3)
    wanted = torch.tensor([[0.0, 0.0], [1.0, 0.01], [2.0, 0.02]])
    torch.testing.assert_close(cos, wanted.cos())
    torch.testing.assert_close(sin, wanted.sin())
