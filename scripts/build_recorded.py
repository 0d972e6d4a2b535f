"""Build the packaged recordings from gzipped JSONL sources: python scripts/build_recorded.py SOURCE_DIR."""

import argparse
import gzip
import json
import lzma
import sys
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

DATA = Path(__file__).resolve().parents[1] / "src" / "fanfold" / "models" / "data"
SAMPLES = "jhu_raw_gpt35_cot_T0.7_10exams.jsonl.gz"
PANEL = "reflect_9models_1000q.jsonl.gz"
LATENCY = "latency_llmperf.jsonl.gz"
REFUSALS = "xstest_5models_labels.jsonl.gz"
PAIRS = "llmbar_judges.jsonl.gz"
SOURCES = (SAMPLES, PANEL, LATENCY, REFUSALS, PAIRS)

# Only exams whose own text is freely licensed. The sources spell one of them in two ways.
EXAMS = {
    "jhu-temp/aqua-rat-100": "aqua-rat",
    "jhu-temp/arc-challenge-test-100": "arc-challenge",
    "jhu-temp/hellaswag_val-100": "hellaswag",
    "self-reflection/aqua-rat-100": "aqua-rat",
    "self-reflection/arc-challenge-100": "arc-challenge",
    "self-reflection/hella-swag-100": "hellaswag",
}

# Of the many ways in which the judges of the pairs were asked, the plainest and the most elaborate.
ASKED = ("Vanilla_NoRules", "Metrics_Reference")

Row = dict[str, Any]


def rows(path: Path) -> Iterator[Row]:
    """Yield the rows of one gzipped JSONL file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def split(total: int, weights: Sequence[int]) -> list[int]:
    """Split `total` in proportion to `weights`; the parts add up to `total` exactly."""
    marks = [total * mark // sum(weights) for mark in accumulate(weights, initial=0)]
    return [right - left for left, right in pairwise(marks)]


def of_one_model(row: Row) -> Row:
    """Return the answers of a `samples` row: the source counts its prompt once and the output of all ten."""
    prompt, output = row["tokens_10"]
    outputs = split(output, [len(text) for text in row["raw"]])
    answers = zip(row["raw"], row["answers"], outputs, strict=True)
    return {row["model"]: [[text, letter, prompt, tokens] for text, letter, tokens in answers]}


def of_the_panel(row: Row) -> Row:
    """Return the answers of a `panel` row: one of each model, with its own token counts."""
    return {
        model: [[answer["raw"], answer["answer"], answer["in_tok"], answer["out_tok"]]]
        for model, answer in row["models"].items()
    }


def recording(row: Row, kind: str) -> Row:
    """Return one packaged recording."""
    return {
        "exam": EXAMS[row["dataset"]],
        "source": row["source"],
        "question": row["question"],
        "gold": row["gold"],
        "set": kind,
        "samples": of_one_model(row) if kind == "samples" else of_the_panel(row),
    }


def recordings(source: Path) -> list[Row]:
    """Return every question of the chosen exams in the order of the sources, whatever its outcome."""
    files = (("samples", SAMPLES), ("panel", PANEL))
    return [recording(row, kind) for kind, name in files for row in rows(source / name) if row["dataset"] in EXAMS]


def latency(source: Path) -> dict[str, list[Any]]:
    """Return the requests that succeeded as columns, which pack better than rows; times to 0.1 ms."""
    good = [row for row in rows(source / LATENCY) if row["error"] is None]
    return {
        "endpoint": [row["endpoint"] for row in good],
        "ttft_s": [round(row["ttft_s"], 4) for row in good],
        "itl_s": [round(row["itl_s"], 6) for row in good],
        "e2e_s": [round(row["e2e_s"], 4) for row in good],
        "out_tok": [row["out_tok"] for row in good],
    }


def refusals(source: Path) -> list[Row]:
    """Return every XSTest prompt with the final label of each model's answer. The answers stay out: some do harm."""
    return [
        {name: row[name] for name in ("id", "type", "prompt", "prompt_label")}
        | {"labels": {model: answer["gold"] for model, answer in row["models"].items()}}
        for row in rows(source / REFUSALS)
    ]


def pairs(source: Path) -> list[Row]:
    """Return every pair of LLMBar itself (its source holds other sets, too) with the verdicts of two ways of asking."""
    return [
        {"id": row["id"], "subset": row["dataset"].rpartition("/")[2]}
        | {name: row[name] for name in ("input", "output_1", "output_2", "gold")}
        | {"votes": {name: given for name, given in row["votes"].items() if name.rpartition("/")[2] in ASKED}}
        for row in rows(source / PAIRS)
        if row["dataset"].startswith("llmbar/LLMBar/")
    ]


def pack(document: object) -> bytes:
    """Return the document as compressed JSON, the same bytes for the same document."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME)


def build(source: Path, target: Path) -> None:
    """Write the data files and say how large they are."""
    target.mkdir(parents=True, exist_ok=True)
    documents = {
        "recorded.json.xz": recordings(source),
        "latency.json.xz": latency(source),
        "xstest.json.xz": refusals(source),
        "llmbar.json.xz": pairs(source),
    }
    for name, document in documents.items():
        packed = pack(document)
        (target / name).write_bytes(packed)
        sys.stdout.write(f"{target / name}: {len(packed):,} bytes\n")


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description="Build the packaged recordings.")
    parser.add_argument("source", type=Path, metavar="SOURCE_DIR", help=f"holds {', '.join(SOURCES)}")
    parser.add_argument("--target", type=Path, default=DATA, help="where to write (default: the package)")
    arguments = parser.parse_args()
    missing = [name for name in SOURCES if not (arguments.source / name).is_file()]
    if missing:
        parser.error(f"{arguments.source} lacks {', '.join(missing)}")
    build(arguments.source, arguments.target)


if __name__ == "__main__":
    main()
