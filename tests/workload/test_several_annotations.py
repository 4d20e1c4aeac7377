"""annotate entered again, left, copied; and several models at once: each module has one name, and each name one."""

from __future__ import annotations

import copy
import gc
import pickle
import warnings

import pytest
import torch
from torch import nn

from perfkit.workload.annotate import _pickled, annotate, module_tree
from tests.workload.ranges import hooks, recorded_paths

X = torch.ones(1, 2)
DUPLICATES = [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))]


def layers(count: int = 2) -> nn.Sequential:
    return nn.Sequential(*(nn.Linear(2, 2) for _ in range(count)))


class Whole(nn.Module):
    """A model with a part that is annotated on its own too."""

    def __init__(self) -> None:
        super().__init__()
        self.part, self.head = layers(1), nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.part(x))


WHOLE = ["Whole", "Whole > part", "Whole > part > part.0", "Whole > head"]

# --- one model, entered and left ---------------------------------------------------------------------------------


def test_hooks_are_there_inside_each_with_and_nowhere_else(nvtx):
    # GIVEN
    model = layers(1)
    annotation = annotate(model)
    assert hooks(model) == 0

    # THEN
    for _ in range(2):
        with annotation as entered:
            assert entered is annotation
            assert hooks(model) == 3 * 2
            model(X)
        assert hooks(model) == 0
        model(X)
    assert nvtx.paths() == 2 * ["Sequential", "Sequential > 0"]


def test_a_with_inside_the_same_one_changes_nothing(nvtx):
    # GIVEN
    model = layers(1)
    annotation = annotate(model)

    # WHEN
    with annotation:
        with annotation:
            model(X)
        model(X)
    model(X)

    # THEN
    assert nvtx.paths() == 2 * ["Sequential", "Sequential > 0"]


def test_a_model_that_changed_has_the_ranges_of_what_it_is_when_the_with_is_entered(nvtx):
    # GIVEN
    model = layers(1)
    annotation = annotate(model)
    with annotation:
        pass

    # WHEN
    model.append(nn.Identity())
    with annotation:
        model(X)

    # THEN
    assert nvtx.paths() == ["Sequential", "Sequential > 0", "Sequential > 1"]
    assert list(annotation.modules) == ["Sequential", "0", "1"]
    assert annotation.hooked == 3


def test_nodes_are_counted_over_all_times_that_it_was_entered():
    # GIVEN
    model = layers(1)
    annotation = annotate(model, backward=True)

    # WHEN
    for _ in range(2):
        with annotation:
            model(X).sum().backward()

    # THEN two accumulations, the product and the transposed weight
    assert annotation.nodes == 2 * 4


@pytest.mark.parametrize("duplicate", DUPLICATES)
@pytest.mark.parametrize("backward", [False, True])
def test_copies_are_silent_once_the_with_is_left_and_stay_so(nvtx, duplicate, backward):
    # GIVEN
    model = layers(1)
    annotation = annotate(model, gradients=True, backward=backward)
    with annotation:
        copied = duplicate(model)
    nvtx.events.clear()

    # WHEN
    copied(X).sum().backward()
    with annotation:
        copied(X).sum().backward()

    # THEN
    assert nvtx.events == {}


def test_a_pickle_read_in_another_process_is_silent():
    # GIVEN
    model = layers(1)
    with annotate(model):
        text = pickle.dumps(model)

        # WHEN none of what was pickled is known there
        _pickled.clear()
        read = pickle.loads(text)

        # THEN
        assert recorded_paths(lambda: read(X)) == []
        assert recorded_paths(lambda: model(X)) == ["Sequential", "Sequential > 0"]


def test_an_annotation_that_is_thrown_away_says_how_to_use_it():
    with pytest.warns(RuntimeWarning, match="use it as `with perfkit.annotate"):
        annotate(layers())


def test_an_annotation_that_was_used_says_nothing():
    gc.collect()  # what other tests have left may have something to say
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with annotate(layers()):
            pass
        assert annotate(layers()).modules
        gc.collect()


# --- several models ----------------------------------------------------------------------------------------------


def test_two_models_with_roots_have_names_of_their_own(nvtx):
    # GIVEN
    one, two = layers(1), layers(1)

    # WHEN
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with annotate(one, root="G", gradients=True) as first, annotate(two, root="D", backward=True):
            two(one(X)).sum().backward()

    # THEN
    assert nvtx.paths()[:4] == ["G", "G > G.0", "D", "D > D.0"]
    assert {path.split(" > ")[-1] for path in nvtx.paths()[4:]} == {"phase::hooks", "backward::D.0", "grad::G.0"}
    assert first.modules == module_tree(one, root="G") == {"G": "Sequential", "G.0": "Linear"}


def test_two_models_without_roots_are_told_apart_by_a_warning():
    with annotate(layers()), pytest.warns(RuntimeWarning) as said, annotate(nn.ModuleDict({"0": layers()})):
        pass
    assert [str(warning.message) for warning in said] == [
        "perfkit: annotated models share the names `0`, and the time of modules of one name is added up; "
        'give each model a root: annotate(model, root="generator")'
    ]
    assert said[0].filename == __file__


def test_a_long_list_of_shared_names_is_cut():
    with annotate(layers(4)), pytest.warns(RuntimeWarning, match="`Sequential`, `0`, `1` and 2 more,"):  # noqa: SIM117
        with annotate(layers(4)):
            pass


@pytest.mark.parametrize("whole_first", [True, False])
def test_a_part_that_is_annotated_too_has_the_names_of_the_whole(nvtx, whole_first):
    # GIVEN
    model = Whole()
    whole, part = annotate(model, gradients=True), annotate(model.part, gradients=True)
    first, second = (whole, part) if whole_first else (part, whole)

    # WHEN
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with first, second:
            model(X).sum().backward()

    # THEN
    assert nvtx.paths()[:4] == WHOLE
    assert sorted(nvtx.paths()[4:]) == 2 * ["grad::head"] + 2 * ["grad::part.0"]


def test_a_part_has_names_of_its_own_again_when_the_whole_is_left(nvtx):
    # GIVEN
    model = Whole()
    with annotate(model.part):
        with annotate(model):
            model(X)
        nvtx.events.clear()

        # WHEN
        model(X)

        # THEN
        assert nvtx.paths() == ["Sequential", "Sequential > 0"]


def test_one_model_annotated_twice_has_the_names_of_the_outer_with(nvtx):
    model = layers(1)
    with annotate(model, root="outer"), annotate(model, root="inner"):
        model(X)
    assert nvtx.paths() == ["outer", "outer > outer.0"]


def test_a_module_that_two_models_share_goes_by_the_name_of_the_first(nvtx):
    # GIVEN
    shared = nn.Linear(2, 2)
    one, two = nn.Sequential(shared), nn.Sequential(nn.Identity(), shared)

    # WHEN
    with annotate(one, root="A"), annotate(two, root="B"):
        two(X)

    # THEN
    assert nvtx.paths() == ["B", "B > B.0", "B > A.0"]


def test_compiled_calls_are_as_before_in_whatever_order_the_annotations_end():
    # GIVEN
    model = layers(1)
    model[0].compile(backend="eager")
    compiled = model[0]._compiled_call_impl
    first, second = annotate(model), annotate(model[0])

    # WHEN
    with first, second:
        assert recorded_paths(lambda: model(X)) == ["Sequential", "Sequential > 0"]
    assert model[0]._compiled_call_impl is compiled
    first.install()
    second.install()
    first.remove()

    # THEN
    assert recorded_paths(lambda: model(X)) == ["Linear"]
    second.remove()
    assert recorded_paths(lambda: model(X)) == []
