import re
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magnet.errors import InvalidMetainfo, MetainfoFault
from magnet.metainfo import paths as paths_module
from magnet.metainfo.paths import (
    DEPTH_MAX,
    ELEMENT_BYTES_MAX,
    RENAMES_MAX,
    safe_element,
    safe_paths,
)


@pytest.mark.parametrize(
    ("raw", "safe"),
    [
        (b"", "_"),
        (b".", "_"),
        (b"..", "_"),
        (b". .", "_"),
        (b"../../etc/passwd", ".._.._etc_passwd"),
        (b"C:\\x", "C__x"),
        (b"\\\\host\\share", "__host_share"),
        (b"a:b", "a_b"),
        (b'<>:"|?*', "_______"),
        (b"a\x00b\x1f\x7f", "a_b__"),
        ("a\u0085b".encode(), "a_b"),
        (b"\xc0\xaf", "__"),
        (b"\xe4\xbd", "__"),
        (b"\xed\xa0\x80", "___"),
        ("a\u202eb\ufeff\u200dc".encode(), "abc"),
        ("\u200b".encode(), "_"),
        (".\u200b.".encode(), "_"),
        (b"a.", "a"),
        (b"a . .", "a"),
        (b" -a", " -a"),
        (b".hidden", ".hidden"),
        (b"NUL", "_NUL"),
        (b"NUL.txt", "_NUL.txt"),
        (b"nul .tar.gz", "_nul .tar.gz"),
        (b"Com1", "_Com1"),
        ("lpt\u00b2".encode(), "_lpt\u00b2"),
        (b"COM10", "COM10"),
        (b"console", "console"),
        (b"A" * 5_000, "A" * 240),
        (b"A" * 5_000 + b".torrent", "A" * 232 + ".torrent"),
        (b"A" * 5_000 + b".no-extension", "A" * 240),
        ("\u4f60".encode() * 100, "\u4f60" * 80),
        (b"a" + "\u4f60".encode() * 100 + b".x", "a" + "\u4f60" * 79 + ".x"),
        ("\u4f60\u597d".encode(), "\u4f60\u597d"),
    ],
)
def test_an_element_is_made_harmless(raw: bytes, safe: str) -> None:
    assert safe_element(raw) == safe


@given(
    st.binary(max_size=600)
    | st.text(max_size=300).map(lambda text: text.encode("utf-8", "replace"))
)
def test_no_element_can_do_harm(raw: bytes) -> None:
    safe = safe_element(raw)
    assert 1 <= len(safe.encode()) <= ELEMENT_BYTES_MAX
    assert safe not in {".", ".."}
    assert not set(safe) & set('/\\\0<>:"|?*')
    assert safe_element(safe.encode()) == safe


PARTS = [
    "con",
    "NUL",
    "Com1",
    "lpt9",
    "clock$",
    "conin$",
    ".",
    "..",
    " ",
    "a",
    "-",
    "[x]",
    "~^",
    "A" * 119,
]
ascii_elements = st.lists(st.sampled_from(PARTS), max_size=5).map("".join) | st.text(
    st.characters(max_codepoint=127), max_size=250
)


@given(ascii_elements.map(str.encode))
def test_what_needs_no_change_is_told_rightly(raw: bytes) -> None:
    at_once = safe_element(raw)
    with patch.object(paths_module, "_HARMLESS", re.compile(b"(?!)")):
        assert safe_element(raw) == at_once


@pytest.mark.parametrize(
    ("paths", "safe"),
    [
        ([b"a", b"b"], ["a", "b"]),
        ([b"a.txt", b"A.TXT", b"a.Txt"], ["a.txt", "A (1).TXT", "a (2).Txt"]),
        ([b"a", b"a/b"], ["a (1)", "a/b"]),
        ([b"a/b", b"A"], ["a/b", "A (1)"]),
        ([b"a", b"a (1)", b"a"], ["a", "a (1)", "a (2)"]),
        ([b"d/a", b"D/a"], ["d/a", "D/a (1)"]),
        (["\u00e9".encode(), "e\u0301".encode()], ["\u00e9", "e\u0301 (1)"]),
        (["\u00df".encode(), b"SS"], ["\u00df", "SS (1)"]),
        ([b"x?", b"x*"], ["x_", "x_ (1)"]),
        ([b".hidden", b".HIDDEN"], [".hidden", ".HIDDEN (1)"]),
        ([b"a" * 300, b"a" * 300], ["a" * 240, "a" * 236 + " (1)"]),
        ([b"../a", b"./a"], ["_/a", "_/a (1)"]),
    ],
)
def test_paths_that_would_meet_are_told_apart(paths: list[bytes], safe: list[str]) -> None:
    assert ["/".join(path) for path in safe_paths([path.split(b"/") for path in paths])] == safe


@pytest.mark.parametrize(
    ("paths", "fault"),
    [
        ([[b"d"] * (DEPTH_MAX + 1)], MetainfoFault.TOO_DEEP),
        ([[b"d" * 200] * 21], MetainfoFault.UNSAFE_PATH),
        ([[b"same"]] * (RENAMES_MAX + 2), MetainfoFault.UNSAFE_PATH),
    ],
)
def test_paths_beyond_the_bounds_are_refused(
    paths: list[list[bytes]], fault: MetainfoFault
) -> None:
    with pytest.raises(InvalidMetainfo) as caught:
        safe_paths(paths)
    assert caught.value.fault is fault


def test_paths_at_the_bounds_are_read() -> None:
    assert len(safe_paths([[b"d"] * DEPTH_MAX])[0]) == DEPTH_MAX
    assert len(set(safe_paths([[b"same"]] * (RENAMES_MAX + 1)))) == RENAMES_MAX + 1


elements = st.sampled_from(
    [b"a", b"A", b"a (1)", b"b", b"..", b"_", "\u00e9".encode(), "e\u0301".encode()]
)


@given(st.lists(st.lists(elements, min_size=1, max_size=4), max_size=12))
def test_no_two_paths_meet(paths: list[list[bytes]]) -> None:
    safe = safe_paths(paths)
    files = {"/".join(path).casefold() for path in safe}
    assert len(files) == len(paths)
    directories = {"/".join(path[:n]).casefold() for path in safe for n in range(1, len(path))}
    assert not files & directories
