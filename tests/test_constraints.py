"""Constraints: what can be written under their masks is exactly what satisfies them.

The truth is found by brute force: all sequences of a small vocabulary are listed, and a property
written without automata says which of them are right.
"""

from __future__ import annotations

import copy
import gc
import itertools
import pickle
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from text_gym import CharTokenizer, HuggingFaceTokenizer, Tokenizer, WordTokenizer
from text_gym.constraints import (
    AllowedCompletions,
    AllowedTokens,
    BannedStrings,
    BannedTokens,
    BannedWords,
    Composition,
    Constraint,
    EmptyMaskError,
    EndsWith,
    HistoryConstraint,
    MatchRegex,
    MinimumLength,
    NoRepeatNgram,
    TextConstraint,
    Vocabulary,
)
from text_gym.constraints.dfa import DEAD, Dfa, intersection, searcher
from text_gym.constraints.token_bytes import token_bytes
from text_gym.constraints.token_trie import TokenTrie, VocabularyTries

Ids = tuple[int, ...]
Property = Callable[[str, Ids], bool]
"""Of a completion's text and its ids without EOS."""
NO_PROMPT = np.zeros(0, dtype=np.int64)


class PieceTokenizer:
    """Tokens of several characters, written one after another; EOS is the last id.

    Args:
        pieces: The text of each token; None for one that stands for no text.
    """

    def __init__(self, pieces: Sequence[str | None]) -> None:
        self.pieces = pieces
        self.eos_token_id = len(pieces)
        self.vocab_size = len(pieces) + 1
        self.excluded_token_ids = frozenset(i for i, p in enumerate(pieces) if p is None)

    def encode(self, text: str) -> list[int]:
        return [self.pieces.index(character) for character in text]

    def decode(self, token_ids: Iterable[int]) -> str:
        return "".join(self.pieces[i] or "" for i in token_ids if i != self.eos_token_id)


def vocabulary_of(
    tokenizer: Tokenizer, max_tokens: int | None = 4, stop_ids: Sequence[int] = ()
) -> Vocabulary:
    usable = np.ones(tokenizer.vocab_size, dtype=np.bool_)
    usable[list(tokenizer.excluded_token_ids)] = False
    return Vocabulary(tokenizer, usable, np.array(stop_ids, dtype=np.int64), max_tokens)


def reachable(composition: Composition, limit: int) -> set[Ids]:
    """Writes every finished text that the masks let through; EOS is part of it.

    Only constraints on the history may run into a dead end.
    """
    looks_ahead = not any(isinstance(c, HistoryConstraint) for c in composition.constraints)
    vocabulary = composition.vocabulary
    ending = {vocabulary.eos, *vocabulary.stop_ids.tolist()}
    finished: set[Ids] = set()
    waiting: list[tuple[Ids, Any]] = [((), composition.start(NO_PROMPT))]
    while waiting:
        ids, text = waiting.pop()
        try:
            allowed = np.flatnonzero(composition.allowed(text)).tolist()
        except EmptyMaskError:
            assert not looks_ahead
            continue
        for token in allowed:
            after = (*ids, token)
            if token in ending or len(after) == limit:
                finished.add(after)
            else:
                waiting.append((after, composition.advance(text, token)))
    return finished


def right(vocabulary: Vocabulary, satisfies: Property, limit: int) -> set[Ids]:
    """Lists every finished text of usable tokens that satisfies a property."""
    stops = set(vocabulary.stop_ids.tolist())
    inner = set(np.flatnonzero(vocabulary.usable).tolist()) - stops - {vocabulary.eos}
    last = inner | stops | {vocabulary.eos}
    found = set()
    for length in range(limit):
        for begun in itertools.product(sorted(inner), repeat=length):
            for token in last & (last if length == limit - 1 else stops | {vocabulary.eos}):
                ids = (*begun, token)
                written = begun if token == vocabulary.eos else ids
                if satisfies(vocabulary.tokenizer.decode(written), written):
                    found.add(ids)
    return found


def assert_exact(
    constraints: Sequence[Constraint], satisfies: Property, vocabulary: Vocabulary, limit: int = 4
) -> set[Ids]:
    truth = right(vocabulary, satisfies, limit)
    try:
        composition = Composition(constraints, vocabulary)
    except EmptyMaskError:
        assert not truth
    else:
        assert reachable(composition, limit) == truth
    return truth


def repeats(n: int, ids: Ids) -> bool:
    ngrams = [ids[i : i + n] for i in range(len(ids) - n + 1)]
    return len(ngrams) > len(set(ngrams))


LETTERS = CharTokenizer("ab.")
PIECES = PieceTokenizer(["a", "b", "ab", "ba", "aba", "."])
WORDS = WordTokenizer(["a", "b", "ab", "."])
CASES: dict[str, tuple[list[Constraint], Property]] = {
    "minimum": ([MinimumLength(3)], lambda text, ids: len(ids) >= 3),
    "minimum is limit": ([MinimumLength(4)], lambda text, ids: len(ids) >= 4),
    "banned tokens": ([BannedTokens([0, 2])], lambda text, ids: not {0, 2} & {*ids}),
    "allowed tokens": ([AllowedTokens([1, 2])], lambda text, ids: {*ids} <= {1, 2}),
    "banned strings": ([BannedStrings(["aa", "b.", "ba"])], lambda text, ids: not re.search(
        r"aa|b\.|ba", text)),
    "banned string overlaps": ([BannedStrings(["abab", "bb"])], lambda text, ids: (
        "abab" not in text and "bb" not in text)),
    "banned words": ([BannedWords(["A", "bab", "a.b"])], lambda text, ids: not re.search(
        r"\b(a|bab|a\.b)\b", text)),
    "no repeated token": ([NoRepeatNgram(1)], lambda text, ids: not repeats(1, ids)),
    "no repeated pair": ([NoRepeatNgram(2)], lambda text, ids: not repeats(2, ids)),
    "no repeated triple": ([NoRepeatNgram(3)], lambda text, ids: not repeats(3, ids)),
    "regex": ([MatchRegex(r"(a|ab)+\.?")], lambda text, ids: bool(
        re.fullmatch(r"(a|ab)+\.?", text))),
    "regex with prefixes": ([MatchRegex("a|ab|aba.*")], lambda text, ids: bool(
        re.fullmatch("a|ab|aba.*", text))),
    "regex not greedy": ([MatchRegex("a+?b*?")], lambda text, ids: bool(
        re.fullmatch("a+b*", text))),
    "completions": ([AllowedCompletions(["ab", "abab", "", "b.a", "a b"])], lambda text, ids: (
        text in {"ab", "abab", "", "b.a", "a b"})),
    "ends with": ([EndsWith(".")], lambda text, ids: text.endswith(".")),
    "ends with overlap": ([EndsWith("aab")], lambda text, ids: text.endswith("aab")),
    "everything": (
        [MinimumLength(2), BannedStrings(["ab."]), EndsWith("."), NoRepeatNgram(1),
         BannedTokens([1])],
        lambda text, ids: (len(ids) >= 2 and "ab." not in text and text.endswith(".")
                           and not repeats(1, ids) and 1 not in ids)),
    "minimum against regex": ([MatchRegex("a|b|ab.|ba"), MinimumLength(2)], lambda text, ids: (
        bool(re.fullmatch("a|b|ab.|ba", text)) and len(ids) >= 2)),
    "two wordings": ([EndsWith("ba"), MatchRegex("a.*")], lambda text, ids: (
        text.startswith("a") and text.endswith("ba"))),
}  # fmt: skip


@pytest.mark.parametrize("stop_ids", [[], [2]], ids=["no stop token", "a stop token"])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    "tokenizer", [LETTERS, PIECES, WORDS], ids=["characters", "pieces", "words"]
)
def test_masks_reach_exactly_the_right_completions(
    tokenizer: Tokenizer, case: str, stop_ids: list[int]
) -> None:
    constraints, satisfies = CASES[case]
    assert_exact(constraints, satisfies, vocabulary_of(tokenizer, stop_ids=stop_ids))


@pytest.mark.parametrize("case", CASES)
def test_and_so_for_longer_texts(case: str) -> None:
    truth = assert_exact(*CASES[case], vocabulary_of(LETTERS, 5), 5)
    assert truth


def test_tokens_that_complete_or_contain_a_banned_string() -> None:
    pieces = PieceTokenizer(["c", "a", "t", "ca", "at", "cat", "scatter", "tc"])
    composition = Composition([BannedStrings(["cat"])], vocabulary_of(pieces))

    def banned(*ids: int) -> set[str | None]:
        text = composition.replay([], ids)
        return {pieces.pieces[i] for i in np.flatnonzero(~composition.allowed(text))}

    contain = {"cat", "scatter"}
    assert banned() == contain
    assert banned(0) == contain | {"at"}
    assert banned(0, 1) == banned(3) == contain | {"t", "tc"}
    assert banned(7, 1) == contain | {"t", "tc"}
    assert banned(3, 1) == contain


def test_a_string_of_several_bytes_may_be_cut_inside_a_character(bpe: Any) -> None:
    tokenizer = HuggingFaceTokenizer(bpe)
    first, second = bpe.convert_tokens_to_ids(["Ã", "©"])  # the bytes C3 A9 of é
    assert tokenizer.decode([first, second]) == "é"
    banned = Composition([BannedStrings(["é"])], vocabulary_of(tokenizer))
    assert banned.allowed(banned.replay([], []))[[first, second]].all()
    assert banned.allowed(banned.replay([], [first]))[[first, second]].tolist() == [True, False]
    only = Composition([AllowedCompletions(["é!"])], vocabulary_of(tokenizer))
    exclamation = tokenizer.encode("!")[0]
    assert np.flatnonzero(only.allowed(only.replay([], []))).tolist() == [first]
    assert np.flatnonzero(only.allowed(only.replay([], [first]))).tolist() == [second]
    assert np.flatnonzero(only.allowed(only.replay([], [first, second]))).tolist() == [exclamation]


def test_bpe_texts_under_masks_satisfy_the_constraints(bpe: Any) -> None:
    tokenizer = HuggingFaceTokenizer(bpe)
    constraints = [
        MatchRegex("[A-Z]?[a-zé ]*, (you|thanks)[.!?]"),
        BannedStrings(["are", "ee"]),
        MinimumLength(4),
    ]
    composition = Composition(constraints, vocabulary_of(tokenizer, 8))
    random = np.random.default_rng(0)
    lengths = set()
    for _ in range(200):
        text, token = composition.start(NO_PROMPT), None
        while token != tokenizer.eos_token_id and text.length < 8:
            token = int(random.choice(np.flatnonzero(composition.allowed(text))))
            text = composition.advance(text, token)
        written = [token for token in text.tokens if token != tokenizer.eos_token_id]
        lengths.add(len(written))
        completion = tokenizer.decode(written)
        assert re.fullmatch("[A-Z]?[a-zé ]*, (you|thanks)[.!?]", completion)
        assert "are" not in completion
        assert "ee" not in completion
    assert min(lengths) >= 4
    assert 8 in lengths  # the limit, at which the text is finished without EOS


def test_every_way_of_cutting_an_allowed_completion_is_allowed() -> None:
    composition = Composition([AllowedCompletions(["aba"])], vocabulary_of(PIECES))
    eos = PIECES.eos_token_id
    assert reachable(composition, 4) == {(4, eos), (2, 0, eos), (0, 3, eos), (0, 1, 0, eos)}


# The token limit


def test_the_ending_comes_in_time() -> None:
    composition = Composition([EndsWith("b.")], vocabulary_of(LETTERS, 4))
    a, b, dot, eos = range(4)
    expected = {(): {a, b, dot}, (a,): {a, b, dot}, (a, a): {b}, (a, b): {b, dot}, (a, b, b): {dot},
                (b, dot): {b, eos}, (a, b, dot): {eos}}  # fmt: skip
    for ids, allowed in expected.items():
        assert set(np.flatnonzero(composition.allowed(composition.replay([], ids)))) == allowed


def test_a_text_that_the_limit_truncates_is_not_finished() -> None:
    composition = Composition([EndsWith("b."), MinimumLength(9)], vocabulary_of(LETTERS, None))
    assert composition.allowed(composition.replay([], [0] * 50)).tolist() == [True] * 3 + [False]
    assert composition.allowed(composition.replay([], [0] * 50 + [1, 2])).all()
    assert not composition.allowed(composition.replay([], [0] * 6 + [1, 2]))[3]


@pytest.mark.parametrize(
    ("constraints", "limit"),
    [
        ([EndsWith("abab")], 3),
        ([MinimumLength(4)], 3),
        ([MatchRegex("a"), MinimumLength(2)], 3),
        ([MatchRegex("ab"), BannedTokens([1])], 3),
        ([EndsWith("x")], 9),
        ([AllowedCompletions(["ab."]), BannedStrings(["b"])], 9),
    ],
    ids=str,
)
def test_what_no_text_satisfies_is_refused_at_once(
    constraints: list[Constraint], limit: int
) -> None:
    with pytest.raises(EmptyMaskError) as error:
        Composition(constraints, vocabulary_of(LETTERS, limit))
    for constraint in constraints:
        assert repr(constraint) in str(error.value)
    assert f"at most {limit} tokens" in str(error.value)


@pytest.mark.parametrize(
    "constraints",
    [[MatchRegex(r"b\.a")], [EndsWith("."), BannedTokens([2])], [MinimumLength(4), EndsWith(".b")]],
    ids=str,
)
def test_a_text_does_not_go_on_after_a_stop_token(constraints: list[Constraint]) -> None:
    with pytest.raises(EmptyMaskError, match="allow no text of at most 4 tokens"):
        Composition(constraints, vocabulary_of(LETTERS, 4, stop_ids=[2]))


def test_without_eos_a_text_goes_on_to_the_limit_and_is_right_there() -> None:
    constraints = [BannedTokens([LETTERS.eos_token_id]), MatchRegex("a+b")]
    composition = Composition(constraints, vocabulary_of(LETTERS, 4))
    assert reachable(composition, 4) == {(0, 0, 0, 1)}


# Masks that meet


def test_an_emptied_mask_names_the_constraints_and_the_text() -> None:
    constraints = [NoRepeatNgram(1), MinimumLength(4)]
    composition = Composition(constraints, vocabulary_of(LETTERS, 5))
    text = composition.replay(LETTERS.encode("b.b"), LETTERS.encode("ab."))
    with pytest.raises(EmptyMaskError) as error:
        composition.allowed(text)
    assert str(error.value) == (
        "NoRepeatNgram(n=1, prompt=False) and MinimumLength(n_tokens=4) allow no token after "
        "'ab.', written to the prompt 'b.b'"
    )


def test_holes_of_the_vocabulary_are_no_way_out() -> None:
    """The automaton must not count on tokens that the environment excludes."""
    tokenizer = PieceTokenizer(["a", None, "b"])
    assert_exact([EndsWith("b")], lambda text, ids: text.endswith("b"), vocabulary_of(tokenizer))
    only_hole = PieceTokenizer(["a", None])
    with pytest.raises(EmptyMaskError, match="EndsWith"):
        Composition([EndsWith("b")], vocabulary_of(only_hole))


def test_a_text_that_has_ended_is_up_to_the_vocabulary() -> None:
    tokenizer = PieceTokenizer(["a", None, "b"])
    composition = Composition([BannedTokens([0])], vocabulary_of(tokenizer))
    assert composition.allowed(None).tolist() == [True, False, True, True]


def test_a_broken_constraint_on_the_wording_says_no_more() -> None:
    composition = Composition([MatchRegex("ab"), BannedTokens([2])], vocabulary_of(LETTERS, 4))
    broken = composition.replay([], [1])
    assert composition.allowed(broken).tolist() == [True, True, False, True]
    late = Composition([EndsWith("ab")], vocabulary_of(LETTERS, 3))
    assert late.allowed(late.replay([], [1, 1])).tolist() == [True, True, True, True]


# States


def test_a_state_is_a_value() -> None:
    """Going on from one state twice, in any order, gives what writing each text alone gives."""
    constraints = [NoRepeatNgram(2), MatchRegex("[ab]+"), MinimumLength(2)]
    composition = Composition(constraints, vocabulary_of(LETTERS, 6))
    states = {(): composition.start(NO_PROMPT)}
    for length in range(1, 5):
        for ids in itertools.product((0, 1), repeat=length):
            states[ids] = composition.advance(states[ids[:-1]], ids[-1])
    for ids, state in states.items():
        alone = composition.replay([], ids)
        assert state.tokens == list(ids)
        assert np.array_equal(composition.allowed(state), composition.allowed(alone))


@pytest.mark.parametrize("prompt", [False, True])
def test_ngrams_of_the_prompt_count_if_asked(prompt: bool) -> None:
    composition = Composition([NoRepeatNgram(2, prompt=prompt)], vocabulary_of(LETTERS))
    a, b, dot = range(3)
    fresh = composition.replay([a, b, a, b], [])
    assert composition.allowed(fresh)[a] == (not prompt)  # "ba" stood in the prompt
    assert composition.allowed(composition.replay([a, b], [a]))[b] == (not prompt)
    assert not composition.allowed(composition.replay([dot], [a, b, a]))[b]


def test_eos_in_the_prompt_does_not_keep_a_text_from_ending() -> None:
    composition = Composition([NoRepeatNgram(1, prompt=True)], vocabulary_of(LETTERS))
    assert composition.allowed(composition.replay([3, 0], [])).tolist() == [
        False,
        True,
        True,
        True,
    ]


def test_masks_are_cached_and_cannot_be_written_to() -> None:
    composition = Composition([EndsWith("."), NoRepeatNgram(3)], vocabulary_of(LETTERS, 9))
    mask = composition.allowed(composition.replay([], [0, 1]))
    assert composition.allowed(composition.replay([], [1, 0, 0])) is mask
    assert composition.allowed(composition.replay([], [0, 2])) is not mask
    with pytest.raises(ValueError, match="read-only"):
        mask[0] = True


def test_the_cache_of_masks_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[Composition.__module__], "_CACHED_BYTES", 0)
    composition = Composition([NoRepeatNgram(1)], vocabulary_of(CharTokenizer("abcdefghij")))
    for ids in itertools.permutations(range(10), 2):
        mask = composition.allowed(composition.replay([], ids))
        assert np.flatnonzero(~mask).tolist() == sorted(ids)
    assert len(composition._masks) == 16


def test_a_composition_is_built_once_while_it_is_held() -> None:
    built: list[int] = []

    class Counted(TextConstraint):
        def dfa(self) -> Dfa:
            built.append(1)
            return searcher([b"a"])

    constraint, vocabulary = Counted(), vocabulary_of(LETTERS)
    first = Composition.of([constraint], vocabulary)
    assert Composition.of([constraint], vocabulary_of(LETTERS)) is first
    assert Composition.of([constraint], vocabulary_of(LETTERS, 5)) is not first
    assert Composition.of([constraint], vocabulary_of(LETTERS, stop_ids=[1])) is not first
    assert Composition.of([constraint], vocabulary_of(CharTokenizer("ab."))) is not first
    assert len(built) == 4
    del first
    gc.collect()
    Composition.of([constraint], vocabulary)
    assert len(built) == 5


def test_the_tokens_of_a_vocabulary_are_read_once_while_they_are_held() -> None:
    decoded: list[int] = []

    class Counted(PieceTokenizer):
        def decode(self, token_ids: Iterable[int]) -> str:
            decoded.append(1)
            return super().decode(token_ids)

    tokenizer = Counted(["a", "b"])
    kept = Composition([EndsWith("a")], vocabulary_of(tokenizer))
    once = len(decoded)
    other = Composition([EndsWith("b")], vocabulary_of(tokenizer))
    assert len(decoded) == once > 0
    assert kept.allowed(kept.replay([], [0]))[2]
    assert not other.allowed(other.replay([], [0]))[2]


# Values


EVERY_KIND: list[Constraint] = [
    MinimumLength(2),
    BannedTokens([1]),
    AllowedTokens([0, 2]),
    BannedStrings(["a"]),
    NoRepeatNgram(2, prompt=True),
    MatchRegex("a*"),
    AllowedCompletions(["a", ""]),
    EndsWith("é"),
]


@pytest.mark.parametrize("constraint", EVERY_KIND, ids=lambda constraint: type(constraint).__name__)
def test_constraints_are_values(constraint: Constraint) -> None:
    assert copy.deepcopy(constraint) is constraint
    assert copy.copy(constraint) is constraint
    pickled = pickle.loads(pickle.dumps(constraint))
    assert pickled == constraint
    assert hash(pickled) == hash(constraint)
    assert eval(repr(constraint)) == constraint


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: MinimumLength(0), "n_tokens must be an integer of at least 1, got 0"),
        (lambda: MinimumLength(2.0), "n_tokens must be an integer of at least 1, got 2.0"),
        (lambda: NoRepeatNgram(0), "n must be an integer of at least 1, got 0"),
        (lambda: BannedTokens([]), "token_ids must name at least one token"),
        (lambda: BannedStrings([]), "strings must name at least one string"),
        (lambda: BannedStrings(["a", ""]), "strings must not be empty, got ''"),
        (lambda: BannedStrings(["\ufffd"]), "strings must be text without U\\+FFFD"),
        (lambda: EndsWith(""), "ending must not be empty"),
        (lambda: EndsWith("\ud800"), "ending must be text without U\\+FFFD and surrogates"),
        (lambda: AllowedCompletions([]), "completions must name at least one string"),
    ],
)
def test_arguments_that_break_their_rule_are_refused(
    build: Callable[[], Constraint], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize("kind", [BannedStrings, AllowedCompletions])
def test_a_single_string_is_no_list_of_strings(kind: Any) -> None:
    with pytest.raises(TypeError, match="must be a list of strings, got 'ab'"):
        kind("ab")


@pytest.mark.parametrize("constraint", [BannedTokens([0, 9, -1]), AllowedTokens([0, 9, -1])])
def test_ids_outside_the_vocabulary_are_refused(constraint: Constraint) -> None:
    with pytest.raises(ValueError, match=r"token ids must be in \[0, 4\), got \[-1, 9\] in"):
        Composition([constraint], vocabulary_of(LETTERS))


def test_a_constraint_of_no_kind_is_refused() -> None:
    with pytest.raises(TypeError, match="one of the four kinds"):
        Composition([Constraint()], vocabulary_of(LETTERS))


# A constraint of one's own


class Alternating(HistoryConstraint):
    """No token twice in a row."""

    def rule(self, vocabulary: Vocabulary) -> Any:
        return AlternatingRule(vocabulary.size)


class AlternatingRule:
    def __init__(self, size: int) -> None:
        self.size = size

    def start(self, prompt_ids: Any) -> int:
        return -1

    def advance(self, state: int, token: int) -> int:
        return token

    def key(self, state: int) -> int:
        return state

    def allowed(self, key: int) -> Any:
        return np.arange(self.size) != key


def test_a_rule_of_ones_own_joins_in() -> None:
    def alternates(text: str, ids: Ids) -> bool:
        return all(one != other for one, other in itertools.pairwise(ids))

    assert_exact(
        [Alternating(), BannedStrings(["ab"])],
        lambda text, ids: alternates(text, ids) and "ab" not in text,
        vocabulary_of(PIECES),
    )


# Regular expressions


PATTERNS = ["a|ab", "(a|ab)(c|bc)", "(|a)b?", "[^a]c|aa", "a{2,3}c*", "(?:a?b)*c?", "a??(ab)?",
            "(?i)AB+", r"\x61[b-c]\w?", ".{2}", "a|b|", r"(a|b)*a(a|b){2}"]  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_means_what_it_means_to_python(pattern: str) -> None:
    dfa = MatchRegex(pattern).dfa()
    for length in range(6):
        for letters in itertools.product("abc", repeat=length):
            text = "".join(letters)
            assert accepts(dfa, text.encode()) == bool(re.fullmatch(pattern, text)), text


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        (".", "é", True),
        (".", "\n", False),
        (r"\w+", "Zoë٣", True),
        (r"[^é]", "è", True),
        (r"\p{Greek}", "α", True),
        (r"[à-ü]{2}", "éa", False),
        (r".*", "\U0001f600 and so on", True),
        (r"(?s).*", "two\nlines", True),
        (r"\{\"a\": \d+\}", '{"a": 12}', True),
    ],
)
def test_patterns_read_unicode(pattern: str, text: str, matches: bool) -> None:
    assert accepts(MatchRegex(pattern).dfa(), text.encode()) == matches


def accepts(dfa: Dfa, text: bytes) -> bool:
    state = 0
    for byte in text:
        state = int(dfa.table[state, byte])
        if state == DEAD:
            return False
    return bool(dfa.accepts[state])


def test_bytes_that_are_no_text_match_nothing() -> None:
    dfa = MatchRegex(".*").dfa()
    assert accepts(dfa, "é".encode())
    assert not accepts(dfa, "é".encode()[:1])
    assert not accepts(dfa, b"\xff")


@pytest.mark.parametrize(
    "pattern", ["(", "a)|(b", "^a$", r"\bword\b", "(?=a)a", r"(a)\1", "[^\\s\\S]", r"\q"]
)
def test_patterns_that_cannot_be_compiled_are_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"got {pattern!r}")):
        MatchRegex(pattern).dfa()


def test_a_missing_library_is_named_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "outlines_core", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'text-gym\[constraints\]'"):
        MatchRegex("a").dfa()


# Automata and tries


@given(
    st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=4),
    st.text("abc", max_size=12),
)
def test_the_searcher_finds_what_ends_here(texts: list[str], text: str) -> None:
    table, found = searcher([one.encode() for one in texts])
    state = 0
    for end, letter in enumerate(text, start=1):
        state = table[state, ord(letter)]
        assert found[state] == any(text[:end].endswith(one) for one in texts)


@given(st.sampled_from(PATTERNS), st.sampled_from(PATTERNS), st.text("abc", max_size=5))
def test_the_intersection_accepts_what_both_accept(one: str, other: str, text: str) -> None:
    both = intersection(MatchRegex(one).dfa(), MatchRegex(other).dfa())
    expected = bool(re.fullmatch(one, text)) and bool(re.fullmatch(other, text))
    assert accepts(both, text.encode()) == expected


@given(
    st.lists(st.one_of(st.none(), st.text("abé", max_size=4)), min_size=1, max_size=9),
    st.sampled_from(["a", "ab", "é", "aba", "bé"]),
)
def test_the_trie_reads_every_token_to_the_state_that_its_bytes_lead_to(
    pieces: list[str | None], banned: str
) -> None:
    dfa = BannedStrings([banned]).dfa()
    encoded = [None if piece is None else piece.encode() for piece in pieces]
    trie = TokenTrie(encoded)
    for start in range(len(dfa.table)):
        for piece, target in zip(encoded, trie.targets(dfa.table, start).tolist(), strict=True):
            state = DEAD if piece is None else start
            for byte in piece or b"":
                state = DEAD if state == DEAD else int(dfa.table[state, byte])
            assert target == state


def test_words_are_written_with_a_space_between() -> None:
    first, later = token_bytes(WordTokenizer(["fine", ".", "thanks"]))
    assert first == (b"fine", b".", b"thanks", None)
    assert later == (b" fine", b".", b" thanks", None)


def test_bytes_of_a_byte_level_vocabulary(bpe_with_special_tokens: Any) -> None:
    tokenizer = HuggingFaceTokenizer(bpe_with_special_tokens, vocab_size=300)
    first, later = token_bytes(tokenizer)
    assert first == later
    assert [first[token] for token in (0, 1, 2, 299)] == [None] * 4
    singles = {piece for piece in first if piece is not None and len(piece) == 1}
    assert singles == {bytes([byte]) for byte in range(256)}
    ids = tokenizer.encode("How are you? 😀é")
    assert b"".join(first[token] or b"" for token in ids).decode() == "How are you? 😀é"
    assert max(len(piece or b"") for piece in first) > 2


def test_bytes_of_a_vocabulary_of_sentence_pieces() -> None:
    """Metaspace and byte fallback, as Llama's: the first space of a text is dropped."""
    from tokenizers import Tokenizer as FastTokenizer
    from tokenizers import decoders, models
    from transformers import PreTrainedTokenizerFast

    tokens = {"<eos>": 0, "▁a": 1, "b": 2, "<0xC3>": 3, "<0xA9>": 4, "▁": 5}
    fast = FastTokenizer(models.BPE(tokens, [], byte_fallback=True))
    fast.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    tokenizer = HuggingFaceTokenizer(
        PreTrainedTokenizerFast(tokenizer_object=fast, eos_token="<eos>")
    )
    first, later = token_bytes(tokenizer)
    # A completion is not the first of its text: the prompt stands before it.
    assert first == later == (None, b" a", b"b", b"\xc3", b"\xa9", b" ")
    constraints = [BannedStrings(["a b", "é"]), EndsWith("b")]
    assert_exact(
        [*constraints, BannedTokens([3, 4])],
        lambda text, ids: "a b" not in text and text.endswith("b") and not {3, 4} & {*ids},
        vocabulary_of(tokenizer, 4),
    )
    composition = Composition(constraints, vocabulary_of(tokenizer, 4))
    assert not composition.allowed(composition.replay([], [3]))[4]


def test_a_tokenizer_that_does_more_than_joining_is_refused() -> None:
    class Reversing(CharTokenizer):
        def decode(self, token_ids: Iterable[int]) -> str:
            return super().decode(token_ids)[::-1]

    with pytest.raises(ValueError, match="tokens are written one after another"):
        VocabularyTries(Reversing("abc"))


def test_a_token_whose_bytes_cannot_be_told_is_refused() -> None:
    with pytest.raises(ValueError, match="known bytes, but token 1 decodes to '\ufffd'"):
        VocabularyTries(PieceTokenizer(["a", "\ufffd"]))


def test_constraints_on_tokens_and_length_need_no_text_of_tokens() -> None:
    class Mute(PieceTokenizer):
        def decode(self, token_ids: Iterable[int]) -> str:
            raise AssertionError("nobody asked for a text")

    constraints = [MinimumLength(2), BannedTokens([0]), NoRepeatNgram(2)]
    composition = Composition(constraints, vocabulary_of(Mute(["a", "b"])))
    assert composition.allowed(composition.start(NO_PROMPT)).tolist() == [False, True, False]


# All of it at random


@st.composite
def random_constraints(draw: st.DrawFn) -> list[tuple[Constraint, Property]]:
    short = st.text("ab.", min_size=1, max_size=3)

    def banned(strings: list[str]) -> tuple[Constraint, Property]:
        return BannedStrings(strings), lambda t, i: not any(s in t for s in strings)

    def listed(texts: list[str]) -> tuple[Constraint, Property]:
        return AllowedCompletions(texts), lambda t, i: t in texts

    def matching(pattern: str) -> tuple[Constraint, Property]:
        return MatchRegex(pattern), lambda t, i: bool(re.fullmatch(pattern, t))

    kinds: st.SearchStrategy[tuple[Constraint, Property]] = st.one_of(
        st.integers(1, 4).map(lambda n: (MinimumLength(n), lambda t, i: len(i) >= n)),
        st.sets(st.integers(0, 3), min_size=1, max_size=2).map(
            lambda ids: (BannedTokens(ids), lambda t, i: not ids & {*i})
        ),
        st.sets(st.integers(0, 3)).map(lambda ids: (AllowedTokens(ids), lambda t, i: {*i} <= ids)),
        st.lists(short, min_size=1, max_size=2).map(banned),
        st.lists(st.text("ab.", max_size=5), min_size=1, max_size=6).map(listed),
        short.map(lambda ending: (EndsWith(ending), lambda t, i: t.endswith(ending))),
        st.integers(1, 3).map(lambda n: (NoRepeatNgram(n), lambda t, i: not repeats(n, i))),
        st.sampled_from(["[ab]*", "(a|ab|b)+[.]?", "a.*", "b?(ab)*", "..+"]).map(matching),
    )
    return draw(st.lists(kinds, min_size=1, max_size=3))


@settings(max_examples=300)
@given(
    random_constraints(),
    st.lists(st.text("ab.", min_size=1, max_size=3), min_size=4, max_size=5, unique=True),
    st.integers(1, 4),
    st.sets(st.integers(0, 3), max_size=1),
)
def test_random_constraints_on_random_vocabularies_are_exact(
    parts: list[tuple[Constraint, Property]], pieces: list[str], limit: int, stops: set[int]
) -> None:
    assert_exact(
        [constraint for constraint, _ in parts],
        lambda text, ids: all(holds(text, ids) for _, holds in parts),
        vocabulary_of(PieceTokenizer(pieces), limit, sorted(stops)),
        limit,
    )
