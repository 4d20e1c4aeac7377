"""annotate: the right names, balanced whatever happens, and gone without a trace."""

from __future__ import annotations

import contextlib
import copy
import pickle
import threading

import pytest
import torch
from torch import Tensor, nn
from torch.profiler import profile

from perfkit.schema import range_names
from perfkit.workload.annotate import annotate, module_tree
from perfkit.workload.model import Transformer
from perfkit.workload.ranges import Range, annotated
from tests.runs import quick
from tests.workload.ranges import FakeNvtx, hooks, recorded_paths

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")

X = torch.ones(1, 2)

BLOCK = [
    "{} > {}.attn_norm",
    "{} > {}.attn",
    "{} > {}.attn > {}.attn.q_proj",
    "{} > {}.attn > {}.attn.k_proj",
    "{} > {}.attn > {}.attn.v_proj",
    "{} > {}.attn > {}.attn.rope",
    "{} > {}.attn > {}.attn.rope",
    "{} > {}.attn > {}.attn.scores",
    "{} > {}.attn > {}.attn.softmax",
    "{} > {}.attn > {}.attn.weighted_sum",
    "{} > {}.attn > {}.attn.output_proj",
    "{} > {}.mlp_norm",
    "{} > {}.mlp",
    "{} > {}.mlp > {}.mlp.gate_proj",
    "{} > {}.mlp > {}.mlp.up_proj",
    "{} > {}.mlp > {}.mlp.down_proj",
]


def expected(layers: int) -> list[str]:
    """Every range of one forward of the Transformer with eager attention."""
    blocks = [line.replace("{}", f"layers.{n}") for n in range(layers) for line in ("{}", *BLOCK)]
    return ["Transformer", *(f"Transformer > {path}" for path in ("embedding", *blocks, "norm", "head"))]


@pytest.fixture
def transformer() -> Transformer:
    torch.manual_seed(0)
    return Transformer(quick(num_layers=2))


TOKENS = torch.zeros(1, 16, dtype=torch.int64)


class Failing(nn.Module):
    """Raises while it is told to."""

    error: BaseException | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.error is not None:
            raise self.error
        return x


class Catching(nn.Module):
    """Goes on where its child fails."""

    def __init__(self, child: nn.Module) -> None:
        super().__init__()
        self.child = child
        self.after = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        with contextlib.suppress(ArithmeticError):
            x = self.child(x)
        return self.after(x)


class Tree(nn.Module):
    """Calls itself."""

    def __init__(self) -> None:
        super().__init__()
        self.leaf = nn.Identity()

    def forward(self, depth: int) -> int:
        return self(depth - 1) if depth else self.leaf(0)


def test_every_module_has_a_range_by_its_name_in_nvtx(nvtx, transformer):
    # WHEN
    annotation = annotate(transformer).install()
    transformer(TOKENS)

    # THEN
    assert nvtx.paths() == expected(layers=2)
    assert nvtx.domains == {"perfkit"}
    assert annotation.hooked == len(set(nvtx.paths())) == len(annotation.modules) - 1  # all but the ModuleList


def test_every_module_has_a_range_by_its_name_in_a_profile(transformer):
    annotate(transformer).install()
    assert recorded_paths(lambda: transformer(TOKENS)) == expected(layers=2)


def test_the_module_tree_has_every_path_and_class(transformer):
    # WHEN
    tree = annotate(transformer).modules

    # THEN
    names = {name for name, _ in transformer.named_modules() if name}
    assert set(tree) == names | {"Transformer"}
    assert (tree["Transformer"], tree["layers"], tree["layers.1"]) == ("Transformer", "ModuleList", "Block")
    assert (tree["layers.1.attn"], tree["layers.1.mlp.up_proj"]) == ("EagerAttention", "Linear")


def test_a_root_that_is_given_goes_before_all_names(nvtx):
    # WHEN
    model = nn.Sequential(nn.Identity())
    annotation = annotate(model, root="net").install()
    model(X)

    # THEN
    assert nvtx.paths() == ["net", "net > net.0"]
    assert annotation.modules == {"net": "Sequential", "net.0": "Identity"}


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_ranges_stay_balanced_when_a_forward_raises(nvtx, depth):
    # GIVEN
    failing = Failing()
    model: nn.Module = failing
    for _ in range(depth):
        model = nn.Sequential(nn.Identity(), model, nn.Identity())
    annotate(model).install()
    model(X)
    before = nvtx.paths()
    nvtx.events.clear()

    # WHEN
    failing.error = ArithmeticError("no")
    with pytest.raises(ArithmeticError):
        model(X)

    # THEN everything is closed, and the next call is as the first
    assert nvtx.paths() == before[: 2 * depth + 1]
    nvtx.events.clear()
    failing.error = None
    model(X)
    assert nvtx.paths() == before


def test_ranges_stay_balanced_in_a_profile_when_a_forward_raises():
    # GIVEN
    failing = Failing()
    failing.error = ArithmeticError("no")
    model = nn.Sequential(Catching(nn.Sequential(failing)), nn.Identity())
    annotate(model).install()

    # THEN what comes after is no child of what failed
    assert recorded_paths(lambda: model(X)) == [
        "Sequential",
        "Sequential > 0",
        "Sequential > 0 > 0.child",
        "Sequential > 0 > 0.child > 0.child.0",
        "Sequential > 0 > 0.after",
        "Sequential > 1",
    ]


def test_ranges_stay_balanced_when_a_hook_of_somebody_else_raises(nvtx):
    # GIVEN
    model = nn.Sequential(nn.Identity(), nn.Identity())

    def refuse(*_: object) -> None:
        raise ArithmeticError

    model[1].register_forward_pre_hook(refuse)
    annotate(model).install()

    # WHEN
    with pytest.raises(ArithmeticError):
        model(X)

    # THEN
    assert nvtx.paths() == ["Sequential", "Sequential > 0", "Sequential > 1"]


def test_an_outer_range_closes_what_ctrl_c_left_open(nvtx):
    # GIVEN PyTorch runs no hook when something other than an Exception flies past
    failing = Failing()
    failing.error = KeyboardInterrupt()
    model = nn.Sequential(failing)
    annotate(model).install()

    # WHEN
    with pytest.raises(KeyboardInterrupt), annotated(range_names.phase("forward")):
        model(X)

    # THEN
    assert nvtx.paths()[-1] == "phase::forward > Sequential > 0"


def test_removing_closes_what_ctrl_c_left_open(nvtx):
    # GIVEN
    failing = Failing()
    failing.error = KeyboardInterrupt()
    model = nn.Sequential(nn.Sequential(failing))

    # WHEN
    with annotate(model):
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                model(X)
        assert nvtx.open == 6

    # THEN
    assert nvtx.open == 0
    nvtx.paths()


def test_a_profiler_may_begin_inside_a_range():
    """GIVEN a range that is open WHEN torch.profiler begins, and the range is closed THEN PyTorch has no objection"""
    opened = Range(range_names.module("outer"))
    opened.open()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as recorded:
        opened.close()
        with annotated(range_names.module("inner")):
            pass
    assert [event.name for event in recorded.events()] == ["perfkit::inner"]


def test_phases_and_steps_are_ranges_too_and_close_when_the_body_raises(nvtx):
    # WHEN
    with pytest.raises(ArithmeticError), annotated(range_names.step(2)), annotated(range_names.phase("backward")):
        raise ArithmeticError

    # THEN
    assert nvtx.paths() == ["step::2", "step::2 > phase::backward"]


def test_ranges_stay_balanced_when_checkpointing_stops_a_recomputation_early(nvtx):
    # GIVEN
    torch.manual_seed(0)
    model = Transformer(quick(num_layers=2, checkpoint=True))
    annotate(model).install()

    # WHEN
    model(TOKENS).sum().backward()

    # THEN the recomputed blocks have ranges of their own kind, outside the forward, last one first
    assert [path for path in nvtx.paths() if path.endswith(("layers.0", "layers.1"))] == [
        "Transformer > layers.0",
        "Transformer > layers.1",
        "recompute::layers.1",
        "recompute::layers.0",
    ]
    parts = ("layers.0", "layers.0.mlp", "layers.0.mlp.down_proj")
    assert nvtx.paths().count(" > ".join(f"recompute::{part}" for part in parts)) == 1


@pytest.mark.parametrize("how", ["remove", "twice", "with", "with that raises"])
def test_removal_leaves_no_hook(transformer, how):
    # GIVEN
    assert hooks(transformer) == 0

    # WHEN
    annotation = annotate(transformer).install()
    assert hooks(transformer) == 3 * annotation.hooked  # before, after, and the latter is always called
    if how in ("remove", "twice"):
        annotation.remove()
    if how == "twice":
        annotation.remove()
    if how == "with":
        with annotation:
            transformer(TOKENS)
    if how == "with that raises":
        with pytest.raises(ArithmeticError), annotation:
            raise ArithmeticError

    # THEN
    assert hooks(transformer) == 0
    assert recorded_paths(lambda: transformer(TOKENS)) == []


def test_gradients_are_marked_with_the_module_their_parameter_belongs_to(nvtx):
    # GIVEN a parameter used in two modules, one that wants no gradient
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2, bias=False), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    model[2].bias.requires_grad_(False)

    # WHEN
    annotation = annotate(model, gradients=True).install()
    out = model(X)
    nvtx.events.clear()
    out.sum().backward()

    # THEN
    assert sorted(nvtx.paths()) == ["grad::0", "grad::0", "grad::2"]

    # WHEN
    annotation.remove()
    nvtx.events.clear()
    model(X).sum().backward()

    # THEN
    assert nvtx.paths() == []


def test_removal_leaves_the_hooks_of_others():
    # GIVEN
    model, called = nn.Sequential(nn.Identity()), []
    model[0].register_forward_hook(lambda *_: called.append("other"))

    # WHEN
    annotate(model).install().remove()
    model(X)

    # THEN
    assert called == ["other"]


def test_hooks_change_neither_output_nor_gradients(transformer):
    # GIVEN
    plain = copy.deepcopy(transformer)

    # WHEN
    annotate(transformer).install()
    for model in (plain, transformer):
        model(TOKENS).sum().backward()

    # THEN
    assert torch.equal(plain(TOKENS), transformer(TOKENS))
    for one, other in zip(plain.parameters(), transformer.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_of_an_annotated_model_has_ranges_and_does_not_call_the_original(transformer, duplicate):
    # GIVEN
    annotate(transformer).install()
    copied = duplicate(transformer)
    for module in transformer.modules():
        module.forward = None  # calling it would raise

    # THEN
    assert recorded_paths(lambda: copied(TOKENS)) == expected(layers=2)


def test_a_module_used_in_two_places_goes_by_its_first_name(nvtx):
    # GIVEN
    shared = nn.Sequential(nn.Identity())
    model = nn.Sequential(nn.Sequential(shared), shared, shared)

    # WHEN
    annotation = annotate(model).install()
    model(X)

    # THEN
    again = ["Sequential > 0.0", "Sequential > 0.0 > 0.0.0"]
    assert nvtx.paths() == [
        "Sequential", "Sequential > 0", "Sequential > 0 > 0.0", "Sequential > 0 > 0.0 > 0.0.0", *again, *again,
    ]  # fmt: skip
    assert annotation.hooked == 4
    assert list(annotation.modules) == ["Sequential", "0", "0.0", "0.0.0"]


def test_a_module_may_call_itself(nvtx):
    model = Tree()
    annotate(model).install()
    model(2)
    assert nvtx.paths() == ["Tree", "Tree > Tree", "Tree > Tree > Tree", "Tree > Tree > Tree > leaf"]


def test_threads_do_not_see_each_others_ranges(nvtx):
    # GIVEN two threads that are inside the same module at the same time
    meet = threading.Barrier(2, timeout=300)

    class Meeting(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            meet.wait()
            return x

    model = nn.Sequential(Meeting(), nn.Sequential(Meeting()))
    annotate(model).install()
    done: list[int] = []

    def call() -> None:
        model(X)
        done.append(threading.get_ident())
        meet.wait()  # both threads live until here, so that their numbers differ

    # WHEN
    threads = [threading.Thread(target=call) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    # THEN
    assert len(set(done)) == 2
    for number in done:
        assert nvtx.paths(number) == ["Sequential", "Sequential > 0", "Sequential > 1", "Sequential > 1 > 1.0"]


def test_torchscript_takes_no_hooks_and_is_passed_over(nvtx):
    # GIVEN
    model = nn.Sequential(torch.jit.script(nn.Linear(2, 2)), nn.ReLU())

    # WHEN
    annotation = annotate(model).install()
    model(X)

    # THEN
    assert nvtx.paths() == ["Sequential", "Sequential > 1"]
    assert annotation.hooked == 2


def test_compiled_wrappers_do_not_show_in_names_and_similar_names_are_left_alone():
    # GIVEN
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = torch.compile(nn.Sequential(nn.Identity()))
            self.my_orig_mod = nn.Sequential(nn.Identity())

    # THEN
    assert module_tree(Model()) == {
        "Model": "Model",
        "block": "Sequential",
        "block.0": "Identity",
        "my_orig_mod": "Sequential",
        "my_orig_mod.0": "Identity",
    }


@pytest.mark.parametrize(("task", "name"), [(-1, "perfkit::Identity"), (0, "perfkit.recompute::Identity")])
def test_a_forward_inside_a_backward_is_a_recomputation_of_the_first_backward_too(monkeypatch, task, name):
    monkeypatch.setattr(torch._C, "_current_graph_task_id", lambda: task)
    model = nn.Identity()
    with annotate(model), profile() as profiler:
        model(torch.ones(1))
    assert name in {event.name for event in profiler.events()}


def test_without_ranges_in_backward_there_are_no_nodes():
    with annotate(nn.Linear(1, 1)) as annotation:
        assert annotation.nodes == 0


def test_a_fake_nvtx_tells_ranges_that_are_not_balanced():
    # GIVEN
    fake = FakeNvtx()
    fake.note("a")

    # THEN
    with pytest.raises(AssertionError, match="left open"):
        fake.paths()
    fake.note(None)
    fake.note(None)
    with pytest.raises(AssertionError, match="without a push"):
        fake.paths()


def test_what_is_no_module_is_refused():
    with pytest.raises(TypeError, match="not function: pass the model itself"):
        annotate(lambda x: x)  # type: ignore[arg-type]
