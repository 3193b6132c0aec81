# SPDX-License-Identifier: Apache-2.0
"""The oracle must be able to fail."""

from oracle import Verdict, compare

TRUTH = {"a": ("k", 1), "b": ("k", 2), "c": ("l", 1)}


def record(identity):
    return {"id": identity, "key": TRUTH.get(identity, ("k",))[0]}


def verdict(*identities):
    return compare(TRUTH, [record(i) for i in identities])


def test_it_is_content_with_what_is_right():
    assert verdict("a", "c", "b") == Verdict(0, 0, 0, 0)


def test_it_sees_each_fault():
    assert verdict("a", "b") == Verdict(1, 0, 0, 0)
    assert verdict("a", "b", "c", "x") == Verdict(0, 1, 0, 0)
    assert verdict("b", "a", "c") == Verdict(0, 0, 1, 0)
    assert verdict("a", "b", "a", "c") == Verdict(0, 0, 0, 1)
