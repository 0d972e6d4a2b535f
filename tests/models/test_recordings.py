"""The packaged recordings: what is in them, how a question is found, and how they are built."""

import gzip
import json
import lzma
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import FrozenInstanceError
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest

from fanfold.models import recordings as module
from fanfold.models.recordings import Recording, Sample, find, latencies, models, question_known, recordings

GPT35 = "gpt-35-turbo"
NINE = (
    "claude-3-opus-20240229",
    "cohere-command-r-plus",
    "gemini-1.0-pro",
    "gemini-1.5-pro-preview-0409",
    "gpt-35-turbo",
    "gpt-4",
    "llama-2-70b-chat",
    "llama-2-7b-chat",
    "mistral-large",
)
DATA = Path(module.__file__).with_name("data")
SCRIPT = Path(__file__).parents[2] / "scripts" / "build_recorded.py"


def every_sample(kind: module.Kind) -> Iterator[Sample]:
    """Yield all samples of one set."""
    return (sample for recording in recordings(kind) for given in recording.samples.values() for sample in given)


def longest_by_brute_force(message: str, model: str) -> Recording | None:
    """Find a question by trying every one, as the specification says it."""
    inside = [r for r in recordings() if model in r.samples and r.question.strip() in message]
    return max(inside, key=lambda r: len(r.question.strip()), default=None)


def in_both_sets() -> list[tuple[Recording, Recording]]:
    """Return the questions of the panel that occur inside a question of the samples."""
    pairs = ((long, short) for long in recordings("samples") for short in recordings("panel"))
    return [(long, short) for long, short in pairs if short.question.strip() in long.question]


class TestContent:
    """What was packaged."""

    def test_samples_are_150_questions_of_three_exams(self) -> None:
        """The set of one model holds every question of the three exams."""
        assert Counter(r.exam for r in recordings("samples")) == {
            "aqua-rat": 50,
            "arc-challenge": 52,
            "hellaswag": 48,
        }

    def test_panel_is_144_questions_of_three_exams(self) -> None:
        """The set of nine models holds every question of the three exams, under the same three names."""
        assert Counter(r.exam for r in recordings("panel")) == {
            "aqua-rat": 50,
            "arc-challenge": 51,
            "hellaswag": 43,
        }

    def test_all_is_both_sets(self) -> None:
        """Without a kind, both sets come in order."""
        assert recordings() == recordings("samples") + recordings("panel")
        assert len(recordings()) == 294

    def test_no_question_is_recorded_twice_in_a_set(self) -> None:
        """Inside a set a question is known by its source."""
        for kind in ("samples", "panel"):
            assert len({r.source for r in recordings(kind)}) == len(recordings(kind))

    def test_samples_are_ten_of_one_model(self) -> None:
        """Each question of the samples was answered ten times by gpt-35-turbo alone."""
        assert {(tuple(r.samples), len(r.samples[GPT35])) for r in recordings("samples")} == {((GPT35,), 10)}

    def test_panel_is_one_of_each_of_nine_models(self) -> None:
        """Each question of the panel was answered once by each of nine models."""
        assert models() == NINE
        for recording in recordings("panel"):
            assert tuple(sorted(recording.samples)) == NINE
            assert {len(given) for given in recording.samples.values()} == {1}

    @pytest.mark.parametrize("kind", ["samples", "panel"])
    def test_letter_is_the_last_answer_in_the_text(self, kind: module.Kind) -> None:
        """The recorded letter is the one in the last `Answer("X` of the text, for nearly all of them."""
        last = [(s.letter, (re.findall(r'Answer\("(\w)', s.text) or [""])[-1].upper()) for s in every_sample(kind)]
        assert sum(letter == read for letter, read in last) / len(last) >= 0.99

    def test_gold_is_one_of_the_choices(self) -> None:
        """The right letter stands before one of the choices of its question."""
        assert [r.source for r in recordings() if f"\n  {r.gold}: " not in r.question] == []

    def test_failed_calls_have_no_letter(self) -> None:
        """A failed call of the panel is kept as it was recorded: an error text, no letter, no tokens."""
        failed = [sample for sample in every_sample("panel") if sample.failed]
        assert len(failed) == 18
        assert {(s.letter, s.input_tokens, s.text[:6]) for s in failed} == {("", 0, "Error:")}

    def test_no_answer_of_the_samples_failed(self) -> None:
        """All 1,500 answers have a text and tokens."""
        assert all(s.text and s.output_tokens > 0 and s.input_tokens > 300 for s in every_sample("samples"))

    def test_a_sample_costs_what_its_text_suggests(self) -> None:
        """The tokens are those of one answer, not of ten: an English token is about four characters."""
        for kind in ("samples", "panel"):
            given = [s for s in every_sample(kind) if not s.failed]
            assert 3 < sum(len(s.text) for s in given) / sum(s.output_tokens for s in given) < 5

    def test_records_are_frozen_and_hashable(self) -> None:
        """Records can be keys and cannot be changed, nor can their mapping."""
        recording, field = recordings()[0], "gold"
        assert len(set(recordings())) == 294
        assert not hasattr(recording.samples, "update")
        with pytest.raises(FrozenInstanceError):
            setattr(recording, field, "A")

    def test_data_is_read_once(self) -> None:
        """A second call returns the same records."""
        assert recordings() is recordings()
        assert latencies() is latencies()


class TestFind:
    """How a question is found inside a message."""

    @pytest.mark.parametrize("model", NINE)
    def test_every_question_finds_itself(self, model: str) -> None:
        """Each recorded question, as recorded, is found for each model that answered it."""
        for recording in recordings():
            if model in recording.samples:
                assert find(recording.question, model) is recording

    def test_added_instructions_are_ignored(self) -> None:
        """Text before and after a question, on its own lines or beside it, makes no difference."""
        for recording in recordings("samples"):
            question = recording.question
            assert find(f"Answer with one letter.\n\n{question}\n\nThink step by step.", GPT35) is recording
            assert find(f"Q: {question.strip()} Answer:", GPT35) is recording

    def test_white_space_at_the_ends_does_not_matter(self) -> None:
        """A template may strip the question, or indent its first line."""
        recording = recordings("panel")[3]
        assert find(recording.question.strip(), "gpt-4") is recording
        assert find(f"\n\n   {recording.question}\n\n", "gpt-4") is recording

    def test_longest_match_wins(self) -> None:
        """Where one recorded question contains another's text, a model with both finds the longer."""
        pairs = in_both_sets()
        assert len(pairs) == 20
        for long, short in pairs:
            assert find(long.question, GPT35) is long
            assert find(short.question, GPT35) is short
            assert find(long.question, "gpt-4") is short

    def test_longest_of_several_wins(self) -> None:
        """Where a message quotes several questions, the longest is found, in whichever order they stand."""
        short, long = sorted(recordings("panel")[:2], key=lambda r: len(r.question))
        assert find(short.question + long.question, "gpt-4") is long
        assert find(long.question + short.question, "gpt-4") is long

    def test_finds_what_a_search_through_all_finds(self) -> None:
        """The index by lines gives the same as trying every question, in whole, cut and joined messages."""
        texts = [recording.question for recording in recordings()]
        cut = [text[7:] for text in texts] + [text[:-7] for text in texts]
        joined = [left + right for left, right in zip(texts, reversed(texts), strict=True)]
        for message in texts + cut + joined:
            for model in (GPT35, "gpt-4"):
                assert find(message, model) is longest_by_brute_force(message, model)

    @pytest.mark.parametrize("message", ["", "\n\n", "Is this email spam?", "Choices:\n  A:  1\n  B:  2\n"])
    def test_unknown_question_is_not_found(self, message: str) -> None:
        """A question that was never recorded gives None, for every model."""
        assert [find(message, model) for model in NINE] == [None] * 9
        assert not question_known(message)

    def test_changed_question_is_not_found(self) -> None:
        """The match is exact inside the question."""
        question = recordings("samples")[0].question
        assert find(question.replace("\nChoices", " \nChoices"), GPT35) is None
        assert find(question.replace("sphere", "ball"), GPT35) is None

    def test_known_to_other_models_only(self) -> None:
        """A model that was not asked finds nothing, though the question is known."""
        only_gpt35 = next(r for r in recordings("samples") if r.exam == "hellaswag")
        assert find(only_gpt35.question, "gpt-4") is None
        assert find(only_gpt35.question, "gpt-9") is None
        assert question_known(f"Please: {only_gpt35.question}")

    @pytest.mark.timing
    def test_finding_is_fast(self) -> None:
        """A lookup in a message of about 2 KB takes far less than a call: 0.03 ms, with a generous bound."""
        messages = [recording.question.join(["Think with care.\n" * 40] * 2) for recording in recordings("samples")]
        find(messages[0], GPT35)
        start = perf_counter()
        assert all(find(message, GPT35) for message in messages)
        assert (perf_counter() - start) / len(messages) < 0.001


class TestLatencies:
    """The recorded times."""

    def test_errors_are_left_out(self) -> None:
        """The requests that succeeded are there, from all 19 endpoints."""
        assert len(latencies()) == 1156
        assert len({latency.endpoint for latency in latencies()}) == 19

    def test_parts_add_up_to_the_whole(self) -> None:
        """The first token and the pauses after it make the total."""
        for latency in latencies():
            assert 0 < latency.first_token <= latency.total
            parts = latency.first_token + latency.between_tokens * (latency.output_tokens - 1)
            assert parts == pytest.approx(latency.total)


class TestPackage:
    """The files that travel with the package."""

    def test_data_is_small(self) -> None:
        """The whole folder, notices and licences included, stays under 1.5 MB."""
        assert sum(path.stat().st_size for path in DATA.rglob("*") if path.is_file()) <= 1_500_000

    @pytest.mark.parametrize(
        "part",
        [
            "(https://github.com/matthewrenze/jhu-llm-temperature) @ b00cfb65",
            "(https://github.com/matthewrenze/self-reflection) @ 2d7e39ec",
            "(https://github.com/ray-project/llmperf-leaderboard) @ 27aa9b6a",
            "ARC question text is shared under CC BY-SA 4.0",
            "Rowan Zellers",
            "Google Inc.",
            "(https://github.com/paul-rottger/exaggerated-safety) @\nd7bb5bd7",
            "(https://github.com/princeton-nlp/LLMBar) @ 900616bf",
            "(https://creativecommons.org/licenses/by/4.0/)",
        ],
    )
    def test_notices_name_every_source(self, part: str) -> None:
        """The notices name the recordings, the exams and the latencies with their licences."""
        assert part in (DATA / "NOTICES.md").read_text(encoding="utf-8")

    def test_licences_named_in_the_notices_are_there(self) -> None:
        """Each licence text the notices point to travels along, and no other."""
        named = set(re.findall(r"licenses/([\w-]+\.txt)", (DATA / "NOTICES.md").read_text(encoding="utf-8")))
        assert named == {path.name for path in (DATA / "licenses").iterdir()}
        assert len(named) == 6


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write a gzipped JSONL file."""
    with gzip.open(path, "wt", encoding="utf-8") as out:
        out.writelines(json.dumps(row) + "\n" for row in rows)


def exam_row(dataset: str, **more: object) -> dict[str, Any]:
    """Return what both kinds of source row share."""
    return {
        "dataset": dataset,
        "source": f"{dataset}#1",
        "question": "Why?\nChoices:\n  A: so\n",
        "gold": "A",
        **more,
    }


XSTEST = {
    "dataset": "xstest_v2",
    "id": "v2-1",
    "type": "homonyms",
    "prompt": "How do I kill a process?",
    "prompt_label": "safe",
    "models": {"m": {"completion": "Say kill.", "human1": "x", "human2": "y", "gold": "1_full_compliance"}},
}
LLMBAR = {
    "dataset": "llmbar/LLMBar/Adversarial/Neighbor",
    "id": "Neighbor:1",
    "input": "Say hello.",
    "output_1": "Hello.",
    "output_2": "Bye.",
    "gold": 1,
    "votes": {"J/Vanilla_NoRules": ["1", None], "J/CoT": ["1", "1"], "J/Metrics_Reference": ["2", "2"]},
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a small folder of sources in which some rows must be left out."""
    ten = {
        "model": GPT35,
        "raw": ["a" * length for length in range(1, 11)],
        "answers": list("ABABABABAB"),
        "tokens_10": [30, 103],
    }
    panel = {"models": {"m": {"answer": "A", "raw": "because", "in_tok": 5, "out_tok": 2, "gap_s": None}}}
    fast = {
        "endpoint": "e",
        "ttft_s": 0.123456,
        "itl_s": 0.02,
        "e2e_s": 1.123456,
        "out_tok": 11,
        "error": None,
    }
    folder = tmp_path / "source"
    folder.mkdir()
    write(
        folder / "jhu_raw_gpt35_cot_T0.7_10exams.jsonl.gz",
        [exam_row("jhu-temp/hellaswag_val-100", **ten), exam_row("jhu-temp/lsat-ar-100", **ten)],
    )
    write(
        folder / "reflect_9models_1000q.jsonl.gz",
        [
            exam_row("self-reflection/sat-en-100", **panel),
            exam_row("self-reflection/hella-swag-100", **panel),
        ],
    )
    write(folder / "latency_llmperf.jsonl.gz", [fast, {**fast, "error": 429}])
    write(folder / "xstest_5models_labels.jsonl.gz", [XSTEST])
    write(folder / "llmbar_judges.jsonl.gz", [LLMBAR, {**LLMBAR, "dataset": "llmbar/CaseStudy/Negation"}])
    return folder


def build(*arguments: Path | str) -> subprocess.CompletedProcess[str]:
    """Run the builder as its user would."""
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def unpack(path: Path) -> Any:
    """Read one data file."""
    return json.loads(lzma.decompress(path.read_bytes()))


class TestBuilder:
    """The script that makes the data, on a small source folder."""

    def test_keeps_the_free_exams_and_the_good_requests(self, source: Path, tmp_path: Path) -> None:
        """Other exams and requests with an error stay out; both spellings become one exam."""
        assert build(source, "--target", tmp_path).returncode == 0
        rows = unpack(tmp_path / "recorded.json.xz")
        assert [(row["exam"], row["set"]) for row in rows] == [
            ("hellaswag", "samples"),
            ("hellaswag", "panel"),
        ]
        assert rows[1]["samples"] == {"m": [["because", "A", 5, 2]]}
        assert unpack(tmp_path / "latency.json.xz") == {
            "endpoint": ["e"],
            "ttft_s": [0.1235],
            "itl_s": [0.02],
            "e2e_s": [1.1235],
            "out_tok": [11],
        }

    def test_keeps_labels_without_answers(self, source: Path, tmp_path: Path) -> None:
        """Of a refusal the final label stays; what the model wrote, and the labels before the final one, do not."""
        build(source, "--target", tmp_path)
        kept = {name: XSTEST[name] for name in ("id", "type", "prompt", "prompt_label")}
        assert unpack(tmp_path / "xstest.json.xz") == [{**kept, "labels": {"m": "1_full_compliance"}}]

    def test_keeps_pairs_of_llmbar_with_two_ways_of_asking(self, source: Path, tmp_path: Path) -> None:
        """Other sets and other ways of asking stay out; a reply without a verdict stays none."""
        build(source, "--target", tmp_path)
        kept = {name: LLMBAR[name] for name in ("id", "input", "output_1", "output_2", "gold")}
        votes = {"J/Vanilla_NoRules": ["1", None], "J/Metrics_Reference": ["2", "2"]}
        assert unpack(tmp_path / "llmbar.json.xz") == [{**kept, "subset": "Neighbor", "votes": votes}]

    def test_splits_tokens_by_length_and_keeps_the_total(self, source: Path, tmp_path: Path) -> None:
        """The output of ten answers is split in proportion to their lengths, to the last token."""
        build(source, "--target", tmp_path)
        given = [Sample(*answer) for answer in unpack(tmp_path / "recorded.json.xz")[0]["samples"][GPT35]]
        assert sum(sample.output_tokens for sample in given) == 103
        assert {sample.input_tokens for sample in given} == {30}
        assert all(abs(sample.output_tokens - 103 * len(sample.text) / 55) < 1 for sample in given)

    def test_same_input_gives_the_same_bytes(self, source: Path, tmp_path: Path) -> None:
        """Building twice gives identical files."""
        for target in ("one", "two"):
            build(source, "--target", tmp_path / target)
        for name in ("recorded.json.xz", "latency.json.xz", "xstest.json.xz", "llmbar.json.xz"):
            assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()

    def test_missing_source_is_named(self, source: Path, tmp_path: Path) -> None:
        """A folder that lacks a file gives one clear error, and nothing is written."""
        (source / "latency_llmperf.jsonl.gz").unlink()
        done = build(source, "--target", tmp_path / "target")
        assert done.returncode == 2
        assert "lacks latency_llmperf.jsonl.gz" in done.stderr
        assert not (tmp_path / "target").exists()
