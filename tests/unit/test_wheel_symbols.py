"""What is said about the symbols that a wheel takes from the system."""

from wheels.undefined import Symbol, faults_of, summary_of

_SYMBOLS = (
    Symbol("core.so", "memcpy", "GLIBC", (2, 14)),
    Symbol("core.so", "dlclose", "GLIBC", (2, 34)),
    Symbol("core.so", "_ZSt4cout", "GLIBCXX", (3, 4)),
)


def test_a_newer_glibc_than_asked_for_is_a_sentence_for_each_symbol() -> None:
    assert faults_of(_SYMBOLS, (2, 34)) == []
    assert faults_of(_SYMBOLS, ()) == []
    assert faults_of(_SYMBOLS, (2, 28)) == [
        "core.so: dlclose asks for glibc 2.34, newer than 2.28; compile on an older system"
    ]


def test_a_symbol_of_no_library_is_a_fault() -> None:
    lost = Symbol("core.so", "lost", "", ())
    assert faults_of([lost], ()) == ["core.so: no library is said to have lost"]


def test_the_newest_version_of_each_library_is_named() -> None:
    assert summary_of(_SYMBOLS) == "3: GLIBC 2.34 (dlclose), GLIBCXX 3.4 (_ZSt4cout)"
