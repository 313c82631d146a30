"""The shipped rewards, by numbers worked by hand."""

from __future__ import annotations

import copy
import pickle
import re
import subprocess
import sys
import unicodedata

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import text_gym.rewards
from text_gym.episode import Episode
from text_gym.rewards import (
    DistinctNgrams,
    ExactMatch,
    Keyword,
    Length,
    RegexFormat,
    Sentiment,
    Unwanted,
    WeightedSum,
    WordCount,
    count_words,
    score,
)
from text_gym.rewards.sentiment import _analyzer
from text_gym.words import _CJK, fold, split_words

SHIPPED = [
    WordCount(),
    Length(5),
    Length(3, unit="words"),
    Length(7, unit="characters"),
    Keyword(["the", "a cat"]),
    Keyword(["the", "a cat"], mode="all"),
    Keyword(["the", "a cat"], mode="count"),
    Keyword(["the", "a cat"], mode="fraction"),
    RegexFormat(r".*cat.*", flags=re.DOTALL),
    ExactMatch(),
    ExactMatch(normalise=False),
    DistinctNgrams(1),
    DistinctNgrams(2),
    Sentiment(),
    Unwanted(),
]
TEXTS = st.one_of(
    st.text(max_size=30),
    st.lists(st.sampled_from(["the", "a", "Cat", "good", "bad", "猫", "🙂", "e\u0301"])).map(
        " ".join
    ),
)


def reward_of(reward, completion: str, **episode) -> float:
    (value,) = reward([Episode.from_text("prompt", completion, **episode)])
    return float(value)


# Words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 0),
        ("  \n\t ", 0),
        ("Hello, world!", 2),
        ("Don't panic", 2),
        ("don\u2019t", 1),
        ("rock-n-roll", 1),
        ("a--b", 2),
        ("-dash- 'quoted'", 2),
        ("3.14", 2),
        ("snake_case", 2),
        ("R2D2", 1),
        ("... !? -- '", 0),
        ("Straße naïve", 2),
        ("cafe\u0301s are cafés", 3),
        ("e\u0301\u0302", 1),
        ("\u0301", 0),
        ("co\u00adoperate", 1),
        ("a\u200bb", 2),
    ],
)
def test_words_of_alphabets(text, words):
    assert count_words(text) == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("我喜歡貓。", 4),
        ("iPhone手机", 3),
        ("人々", 2),
        ("\u3007\u3007", 2),
        ("𠮷野家", 3),
        ("\U00020000\U0002a700\U00030000", 3),
        ("\uf900", 1),
        ("「、。・」", 0),
        ("私はネコです", 6),
        ("ラーメン", 4),
        ("か\u3099", 1),
        ("ｶﾞｲﾄﾞ", 3),
        ("\uff9e", 0),
        ("안녕하세요 세계", 2),
        (unicodedata.normalize("NFD", "안녕하세요 세계"), 2),
        ("السَّلامُ عَلَيْكُم", 2),
        ("مرحبا، كيف حالك؟", 3),
        ("می\u200cخواهم بروم", 2),  # noqa: RUF001
        ("नमस्ते दुनिया", 2),
        ("สวัสดีครับ ผมชื่อ", 2),
        ("Привет, мир", 2),
    ],
)
def test_words_of_other_scripts(text, words):
    assert count_words(text) == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("🙂", 0),
        ("☺️ 👍🏽", 0),
        ("👨\u200d👩\u200d👧", 0),
        ("🇫🇷", 0),
        ("🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", 0),
        ("1️⃣ 2\u20e3 #️⃣", 0),
        ("I ❤️ NY", 2),
        ("ok🙂ok", 2),
    ],
)
def test_emoji_are_no_words(text, words):
    assert count_words(text) == words


def test_marks_stay_with_the_letter_before_them():
    assert split_words("か\u3099ら ｶﾞﾗ") == ["か\u3099", "ら", "ｶﾞ", "ﾗ"]
    assert split_words("कि e\u0301t") == ["कि", "e\u0301t"]


def test_every_chinese_character_and_kana_is_a_word_and_no_other_letter_is():
    words_of_their_own = {
        letter
        for letter in filter(str.isalpha, map(chr, range(0x30000)))
        if count_words(letter * 2) == 2
    }
    kinds = re.compile("CJK|HIRAGANA|KATAKANA|HENTAIGANA|IDEOGRAPHIC")
    expected = {
        letter
        for letter in filter(str.isalpha, map(chr, range(0x30000)))
        if kinds.search(unicodedata.name(letter, "")) and letter not in "\uff9e\uff9f"
    }
    assert words_of_their_own == expected


@given(TEXTS)
def test_words_are_found_in_order_and_are_words_themselves(text):
    words = split_words(text)
    position = 0
    for word in words:
        position = text.index(word, position) + len(word)
        assert split_words(word) == [word]


def rule_of_words():
    """Returns the rule as one expression over all of Unicode, in which marks are listed."""
    marks = "".join(
        chr(code)
        for code in range(0x20000)
        if unicodedata.category(chr(code)) in ("Mn", "Mc", "Me", "Cf") and code != 0x200B
    )
    any_marks = rf"[{re.escape(marks)}\uff9e\uff9f\U000e0000-\U000e01ef]*"
    letter = rf"(?![{_CJK}\uff9e\uff9f]|[0-9]\ufe0f?\u20e3)[^\W_]{any_marks}"
    return re.compile(rf"[{_CJK}]{any_marks}|(?:{letter})+(?:['\u2019\u2010\u2011-](?:{letter})+)*")


RULE_OF_WORDS = rule_of_words()
AWKWARD = (
    "ab9-'_. \n\x1c\x7f\u2019\u2010\ufe0f\u20e3\u0301\u200b\u200d\uff9e\uff76猫かéक\u093f\U000e0100"
)


@given(st.text(AWKWARD, max_size=12) | st.text(st.characters(max_codepoint=127)) | TEXTS)
@example("a-a-a-a")
@example("1\ufe0f\u20e3a-2\u20e3")
def test_words_are_those_of_the_rule(text):
    assert split_words(text) == RULE_OF_WORDS.findall(text)
    assert count_words(text) == len(split_words(text))


def test_every_character_is_of_the_kind_that_the_rule_says():
    characters = [chr(code) for code in range(128, 0x110000, 7)]
    text = "".join(f"a{one}b{one} " for one in characters)
    assert split_words(text) == RULE_OF_WORDS.findall(text)


@given(TEXTS, TEXTS)
def test_words_of_two_texts_with_a_space_between_add_up(first, second):
    assert count_words(f"{first} {second}") == count_words(first) + count_words(second)


def test_folding_removes_case_and_composition():
    assert fold("E\u0301T\u00c9 STRASSE") == fold("été straße")
    assert fold("a") != fold("b")


# WordCount


def test_word_count_reads_the_completion_only():
    reward = WordCount()([Episode.from_text("a long prompt", "two words"), Episode.from_text("p")])
    np.testing.assert_array_equal(reward, [2.0, 0.0])


# Length


def test_length_in_tokens_counts_the_actions_including_eos():
    ids = np.array([5, 6, 7, 0], dtype=np.int64)
    episode = Episode("p", ids[:1], ids, "eos", decode=lambda token_ids: "three words here!")
    (reward,) = Length(6)([episode])
    assert reward == -2.0


@pytest.mark.parametrize(
    ("target", "unit", "completion", "reward"),
    [
        (3, "words", "one two three", 0.0),
        (3, "words", "one", -2.0),
        (3, "words", "a b c d e", -2.0),
        (2, "words", "我喜歡貓", -2.0),
        (4, "characters", "abc", -1.0),
        (1, "characters", "é", 0.0),
        (1, "characters", "e\u0301", -1.0),
        (1, "characters", "👍🏽", -1.0),
        (0, "characters", "", 0.0),
        (0, "tokens", "abc", -3.0),
    ],
)
def test_length_is_minus_the_distance_in_units(target, unit, completion, reward):
    assert reward_of(Length(target, unit), completion) == reward


def test_length_on_target_is_plain_zero():
    assert not np.signbit(Length(0)([Episode.from_text("p", "")])[0])


@pytest.mark.parametrize("target", [-1, 2.0, "3", True, None])
def test_length_refuses_a_target_that_is_no_count(target):
    with pytest.raises(ValueError, match="target must be an integer of at least 0, received") as e:
        Length(target)
    assert str(e.value).endswith(repr(target))


def test_length_refuses_an_unknown_unit():
    with pytest.raises(ValueError, match=r"unit must be one of \('tokens', .* received 'lines'"):
        Length(3, unit="lines")


# Keyword


@pytest.mark.parametrize(
    ("mode", "rewards"),
    [
        ("any", [1.0, 1.0, 0.0]),
        ("all", [0.0, 1.0, 0.0]),
        ("count", [2.0, 3.0, 0.0]),
        ("fraction", [0.5, 1.0, 0.0]),
    ],
)
def test_keyword_modes(mode, rewards):
    completions = ["A cat, a CAT!", "Cat and dog and cat.", "concatenate the cats, dog-like"]
    episodes = [Episode.from_text("cat dog", completion) for completion in completions]
    np.testing.assert_array_equal(Keyword(["cat", "dog"], mode=mode)(episodes), rewards)


@pytest.mark.parametrize(
    ("keyword", "completion", "count"),
    [
        ("cat", "", 0),
        ("cat", "cats scatter cat's cat-like", 0),
        ("ice cream", "Ice  cream, ice; cream. icecream ice-cream ice", 2),
        ("a a", "a a a", 2),
        ("猫", "黒猫と猫", 2),
        ("黒猫", "黒猫と猫黒", 1),
        ("café", "CAFE\u0301 cafe", 1),
        ("STRASSE", "straße", 1),
        ("세계", "안녕 세계 세계로", 1),
        ("عليكم", "السلام عليكم", 1),
        ("don't", "Don't!", 1),
    ],
)
def test_keyword_counts_whole_words(keyword, completion, count):
    assert reward_of(Keyword([keyword], mode="count"), completion) == count


def test_keyword_refuses_one_string():
    with pytest.raises(TypeError, match="keywords must be a list of strings, received 'cat'"):
        Keyword("cat")


@pytest.mark.parametrize("keywords", [[], ["cat", "CAT"]])
def test_keyword_refuses_none_and_repeated_ones(keywords):
    with pytest.raises(ValueError, match="must be at least one, all distinct, received") as caught:
        Keyword(keywords)
    assert str(caught.value).endswith(repr(keywords))


@pytest.mark.parametrize("keyword", ["", " ", "C++", "🙂", "wait!", "3.14"])
def test_keyword_refuses_what_is_not_made_of_words(keyword):
    with pytest.raises(ValueError, match="keywords must be made of words and spaces") as caught:
        Keyword(["cat", keyword])
    assert f"received {keyword!r}" in str(caught.value)


def test_keyword_refuses_an_unknown_mode():
    with pytest.raises(ValueError, match=r"mode must be one of \('any', .* received 'most'"):
        Keyword(["cat"], mode="most")


# RegexFormat


@pytest.mark.parametrize(
    ("pattern", "flags", "completion", "reward"),
    [
        (r"\d+", 0, "42", 1.0),
        (r"\d+", 0, " 42", 0.0),
        (r"\d+", 0, "42 ", 0.0),
        (r"\d+", 0, "42\n", 0.0),
        (r"yes|yes sir", 0, "yes sir", 1.0),
        (r"yes", re.IGNORECASE, "YES", 1.0),
        (r"a.b", 0, "a\nb", 0.0),
        (r"a.b", re.DOTALL, "a\nb", 1.0),
        (r"", 0, "", 1.0),
        (r"", 0, "x", 0.0),
        (r"[\u4e00-\u9fff]+", 0, "我喜歡貓", 1.0),
    ],
)
def test_regex_format_is_one_if_the_whole_completion_matches(pattern, flags, completion, reward):
    assert reward_of(RegexFormat(pattern, flags), completion) == reward


@pytest.mark.parametrize(("pattern", "flags"), [("(", 0), ("a", re.ASCII | re.UNICODE)])
def test_regex_format_refuses_what_does_not_compile(pattern, flags):
    with pytest.raises(ValueError, match="pattern must be a regular expression") as caught:
        RegexFormat(pattern, flags)
    assert f"received {pattern!r} with flags={flags!r}: " in str(caught.value)


# ExactMatch


@pytest.mark.parametrize(
    ("completion", "reference", "normalised", "exact"),
    [
        ("Paris", "Paris", 1.0, 1.0),
        (" paris\n", "Paris", 1.0, 0.0),
        ("New   York", "new york", 1.0, 0.0),
        ("NewYork", "new york", 0.0, 0.0),
        ("cafe\u0301", "café", 1.0, 0.0),
        ("-5", "5", 0.0, 0.0),
        ("3.5", "35", 0.0, 0.0),
        ("x²", "x2", 0.0, 0.0),
        ("Paris.", "Paris", 0.0, 0.0),
        ("", "", 1.0, 1.0),
        (" ", "", 1.0, 0.0),
        ("서울", "서울", 1.0, 1.0),
    ],
)
def test_exact_match(completion, reference, normalised, exact):
    assert reward_of(ExactMatch(), completion, reference=reference) == normalised
    assert reward_of(ExactMatch(normalise=False), completion, reference=reference) == exact


@pytest.mark.parametrize("normalise", [True, False])
def test_exact_match_refuses_a_prompt_without_reference(normalise):
    episodes = [Episode.from_text("1+1", "2", reference="2"), Episode.from_text("2+2", "None")]
    message = "reference must be given .* received None for the prompt '2\\+2'"
    with pytest.raises(ValueError, match=message):
        ExactMatch(normalise)(episodes)
    with pytest.raises(RuntimeError, match=f"reward 'exact_match' raised ValueError: {message}"):
        score(ExactMatch(normalise), episodes)


# DistinctNgrams


@pytest.mark.parametrize(
    ("n", "completion", "reward"),
    [
        (1, "a b c d", 1.0),
        (1, "a b a b", 0.5),
        (1, "so so so so so", 0.2),
        (1, "So so SO, so!", 0.25),
        (2, "a b a b", 2 / 3),
        (2, "a a a a", 1 / 3),
        (3, "a b c a b c", 3 / 4),
        (1, "哈哈哈哈", 0.25),
        (2, "ネコネコ", 2 / 3),
        (1, "cafe\u0301 café", 0.5),
        (1, "कि की", 1.0),
        (1, "🙂🙂🙂", 1.0),
        (1, "", 1.0),
        (2, "alone", 1.0),
        (2, "two words", 1.0),
    ],
)
def test_distinct_ngrams(n, completion, reward):
    assert reward_of(DistinctNgrams(n), completion) == pytest.approx(reward, abs=1e-15)


@given(TEXTS, st.integers(1, 3))
def test_distinct_ngrams_are_a_share_and_repeating_a_text_never_raises_it(text, n):
    once, twice = reward_of(DistinctNgrams(n), text), reward_of(DistinctNgrams(n), f"{text} {text}")
    assert 0.0 < twice <= 1.0
    if count_words(text) >= n:
        assert twice <= once


def test_distinct_ngrams_are_bigrams_unless_said_otherwise():
    assert DistinctNgrams() == DistinctNgrams(2)


@pytest.mark.parametrize("n", [0, -1, 1.0, True, "2"])
def test_distinct_ngrams_refuses_n_below_one(n):
    with pytest.raises(ValueError, match="n must be an integer of at least 1, received") as caught:
        DistinctNgrams(n)
    assert str(caught.value).endswith(repr(n))


# Sentiment


def test_sentiment_orders_texts_and_is_bounded():
    texts = ["This is great, I love it!", "A table.", "", "我", "This is awful, I hate it!"]
    good, table, empty, chinese, bad = Sentiment()([Episode.from_text("p", text) for text in texts])
    assert -1.0 <= bad < -0.5
    assert table == empty == chinese == 0.0
    assert 0.5 < good <= 1.0


def test_sentiment_is_the_compound_score_of_the_completion():
    episode = Episode.from_text("I hate you", "good")
    # VADER's lexicon has good = 1.9; compound = 1.9 / sqrt(1.9² + 15) = 0.44043.
    assert Sentiment()([episode])[0] == 0.4404


def test_sentiment_without_its_library_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "vaderSentiment.vaderSentiment", None)
    _analyzer.cache_clear()
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'text-gym\[sentiment\]'"):
        Sentiment()


def test_a_pickled_sentiment_leaves_the_lexicon_behind():
    assert len(pickle.dumps(Sentiment())) < 200


def test_importing_the_rewards_loads_no_optional_library():
    code = (
        "import sys, text_gym.rewards; "
        "print(sorted({'vaderSentiment', 'torch', 'transformers', 'agents'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# All of them


@pytest.mark.parametrize("reward", SHIPPED, ids=repr)
@given(completions=st.lists(TEXTS, min_size=1, max_size=5))
def test_a_batch_equals_its_texts_one_by_one(reward, completions):
    episodes = [Episode.from_text("p", text, reference="the cat") for text in completions]
    rewards = score(reward, episodes).total
    assert rewards.shape == (len(completions),)
    assert rewards.dtype == reward(episodes).dtype == np.float64
    one_by_one = [reward([episode])[0] for episode in episodes]
    np.testing.assert_array_equal(rewards, one_by_one)


@pytest.mark.parametrize("reward", SHIPPED, ids=repr)
def test_rewards_pickle_copy_compare_and_show_their_arguments(reward):
    names = {name: getattr(text_gym.rewards, name) for name in text_gym.rewards.__all__}
    episodes = [Episode.from_text("p", "The cat is a good cat", reference="the cat is a good cat")]
    for other in (
        pickle.loads(pickle.dumps(reward)),
        copy.deepcopy(reward),
        eval(repr(reward), {**names, "re": re}),
    ):
        assert other == reward
        assert hash(other) == hash(reward)
        np.testing.assert_array_equal(other(episodes), reward(episodes))


@pytest.mark.parametrize("reward", SHIPPED, ids=repr)
def test_rewards_of_an_empty_batch_are_an_empty_array(reward):
    assert reward([]).shape == (0,)
    assert reward([]).dtype == np.float64


def test_all_shipped_rewards_work_in_one_sum():
    reward = WeightedSum({repr(shipped): shipped for shipped in SHIPPED})
    episodes = [Episode.from_text("p", "the cat", reference="the cat")] * 2
    scores = score(reward, episodes)
    # words 2; 7 tokens of 5; 2 words of 3; 7 characters of 7; any, not all, count, half of the
    # keywords; the pattern; both matches; both kinds of n-gram distinct; no sentiment; no oath.
    by_hand = [2, -2, -1, 0, 1, 0, 1, 0.5, 1, 1, 1, 1, 1, 0, 0]
    np.testing.assert_array_equal([part[0] for part in scores.components.values()], by_hand)
    np.testing.assert_array_equal(scores.total, [6.5, 6.5])
