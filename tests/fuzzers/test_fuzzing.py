"""A fuzzer that cannot fail proves nothing."""

import random
from collections.abc import Callable

import pytest

from scripts.fuzzers import fuzzing
from scripts.fuzzers.fuzzing import MEMORY_EVERY, Failure, Report, Subject, fuzz, run


def subject(feed: Callable[[bytes], object]) -> Subject:
    return Subject("victim", lambda: b"\xfe\xed", feed, (ValueError,))


def refuse(data: bytes) -> None:
    raise ValueError


def crash(data: bytes) -> None:
    raise KeyError("undocumented")


def be_slow(data: bytes) -> None:
    sum(range(100_000))


def hoard(data: bytes) -> None:
    bytearray(fuzzing.MEMORY_MAX + 1)


def test_an_undocumented_error_is_a_failure() -> None:
    with pytest.raises(Failure, match="KeyError") as caught:
        fuzz(subject(crash), inputs=10, time_limit_s=10.0)
    assert caught.value.data == b"\xfe\xed"


def test_slowness_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzzing, "SECONDS_MAX", 1e-6)
    with pytest.raises(Failure, match="took"):
        fuzz(subject(be_slow), inputs=10, time_limit_s=10.0)


def test_hoarding_is_a_failure() -> None:
    with pytest.raises(Failure, match="bytes of memory"):
        fuzz(subject(hoard), inputs=MEMORY_EVERY, time_limit_s=10.0)


def test_a_subject_that_looks_at_the_memory_itself_is_not_traced() -> None:
    untraced = subject(hoard)._replace(is_traced=False)
    assert fuzz(untraced, inputs=MEMORY_EVERY, time_limit_s=10.0).inputs == MEMORY_EVERY


def test_a_documented_error_is_counted() -> None:
    report = fuzz(subject(refuse), inputs=10, time_limit_s=10.0)
    assert (report.inputs, report.refused) == (10, 10)


def test_time_ends_a_run() -> None:
    assert fuzz(subject(refuse), inputs=10, time_limit_s=0.0).inputs == 0


def test_a_long_run_tells_of_its_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzzing, "PROGRESS_EVERY_S", 0.0)
    reports: list[Report] = []
    told = subject(refuse)._replace(remarks=lambda: "all is well")
    fuzz(told, inputs=3, time_limit_s=10.0, progress=reports.append)
    assert [report.inputs for report in reports] == [0, 1, 2]
    assert str(reports[-1]).endswith("all is well")


def test_the_program_prints_input_and_seed_and_fails() -> None:
    with pytest.raises(SystemExit) as caught:
        run("About.", lambda rng: [subject(crash)], ["--seed=7", "--size=1"])
    assert "feed" in str(caught.value.code)
    assert "seed: 7" in str(caught.value.code)


def test_the_program_reports_every_subject(capsys: pytest.CaptureFixture[str]) -> None:
    run("About.", lambda rng: [subject(refuse)] * 2, ["--seed=7", "--size=3"])
    assert capsys.readouterr().out.count("3 inputs") == 2


def test_the_seed_decides_everything() -> None:
    drawn: list[float] = []

    def subjects(rng: random.Random) -> list[Subject]:
        drawn.append(rng.random())
        return [subject(refuse)]

    for _ in range(2):
        run("About.", subjects, ["--seed=7", "--size=1"])
    assert drawn[0] == drawn[1]
