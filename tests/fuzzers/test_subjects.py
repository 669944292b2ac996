"""Every fuzzer, for a moment: what `scripts/fuzz all` does for as long as one likes."""

import random

import pytest

from scripts.fuzzers import all as every
from scripts.fuzzers.fuzzing import Subject, fuzz

INPUTS = 1_500

SUBJECTS = every.subjects(random.Random(2))


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
def test_a_short_run_finds_nothing(subject: Subject) -> None:
    report = fuzz(subject, inputs=INPUTS, time_limit_s=10.0)
    assert report.inputs == INPUTS
    # Some damage must be noticed, and some must get past the first checks.
    if subject.documented:
        assert 0.05 * INPUTS < report.refused < 0.98 * INPUTS
