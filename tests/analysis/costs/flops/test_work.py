"""Work of a trace: each piece once, and in which operator."""

from __future__ import annotations

import numpy as np

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.costs.flops.work import Work, work_of
from perfkit.trace.operands import operands_of
from tests.builders import TraceBuilder


def work(b: TraceBuilder) -> Work:
    trace = b.build()
    return work_of(operands_of(trace), attribute(trace))


def test_a_product_counts_where_it_is_computed():
    """GIVEN a linear layer that calls matmul, which calls mm WHEN counted THEN mm alone: 2 x 2 x 3 x 5"""
    b = TraceBuilder().call("aten::linear", 0, 100, [[2, 3], [5, 3]])
    b.call("aten::matmul", 10, 90, [[2, 3], [3, 5]]).call("aten::mm", 20, 80, [[2, 3], [3, 5]])
    found = work(b)
    assert found.flops.tolist() == [0, 0, 60]
    assert found.owner.tolist() == [-1, -1, 2]
    assert work(TraceBuilder().call("aten::linear", 0, 100, [[2, 3], [5, 3]])).flops.tolist() == [60]


def test_what_a_product_calls_beside_it_is_its_own_work():
    """GIVEN a convolution's backward that sums the bias's gradient, and an addition that converts one argument first
    THEN both count, and the copy is the copy's"""
    b = TraceBuilder().call("aten::addmm", 0, 50, [[5], [2, 3], [3, 5]]).call("aten::copy_", 10, 20, [[2, 5], [5]])
    b.call("aten::add", 100, 150, [[4], [4]]).call("aten::copy_", 110, 120, [[4], [4]])
    b.call("aten::mean", 200, 250, [[4]]).call("aten::sum", 210, 220, [[4]])
    b.call("aten::mse_loss", 300, 350, [[4], [4]]).call("aten::mean", 310, 320, [[4]])
    found = work(b)
    assert found.flops.tolist() == [60, 0, 4, 0, 0, 4, 8, 4]
    assert found.is_counted.tolist() == [True, True, True, True, False, True, True, True]


def test_a_copy_leaves_its_bytes_to_the_copy_inside():
    b = TraceBuilder().call("aten::embedding", 0, 100, [[10, 3], [4]], ["float", "long int"])
    b.call("aten::index_select", 10, 90, [[10, 3], [], [4]], ["float", "Scalar", "long int"], ["", "0", ""])
    found = work(b)
    assert found.bytes.tolist() == [-1, 32 + 2 * 48]


def test_ranges_of_the_user_and_operators_without_shapes_count_nothing():
    b = (
        TraceBuilder()
        .annotation("aten::mm", 0, 10)
        .range("aten::mm", 20, 30)
        .call("mylib::mm", 40, 50, [[2, 3], [3, 5]])
    )
    found = work(b)
    assert not found.is_counted.any()
    assert np.array_equal(found.owner, [-1, -1, -1])


def test_products_of_sparse_tensors_are_not_counted():
    """GIVEN torch.sparse.mm, which calls addmm with the shapes of dense tensors THEN neither counts"""
    b = TraceBuilder().call("aten::matmul", 0, 100, [[9, 9], [9, 3]])
    b.call("aten::_sparse_mm", 10, 90, [[9, 9], [9, 3]]).call("aten::addmm", 20, 80, [[9, 3], [9, 9], [9, 3]])
    assert not work(b).is_counted.any()


def test_an_empty_trace():
    assert len(work(TraceBuilder().event("kernel", 0, 10)).flops) == 0


def test_lists_take_the_type_that_all_gradients_have():
    """GIVEN gradients of one type, or of two WHEN an optimizer is counted THEN its bytes are known, or are not"""
    accumulate = "torch::autograd::AccumulateGrad"
    b = TraceBuilder().call(accumulate, 0, 10, [[4]]).call("aten::_foreach_sqrt", 20, 30, [[[4], [2]]], ["TensorList"])
    assert work(b).bytes.tolist() == [-1, 2 * 6 * 4]
    b.call(accumulate, 40, 50, [[4]], "c10::Half")
    assert work(b).bytes.tolist() == [-1, -1, -1]
