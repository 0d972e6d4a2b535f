"""`bespokelabs-curator`: its LLM over a dataset, with its own requests and responses on the disk, then a JSONL file."""

from __future__ import annotations

import importlib
import json
import logging
import os
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from tables.timing import run

NO_LIMIT = 10**12

# It reads these when it is imported. Prices and tokenizer come with litellm, so nothing is fetched, or told to anybody.
SETTINGS = {
    "TELEMETRY_ENABLED": "false",
    "CURATOR_DISABLE_CACHE": "1",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
}


def loaded() -> Any:
    """The library with all that it loads when it is used, which takes it seconds and is not timed."""
    os.environ |= SETTINGS
    litellm = importlib.import_module("litellm")
    os.environ["TIKTOKEN_CACHE_DIR"] = str(Path(str(litellm.__file__)).parent / "litellm_core_utils" / "tokenizers")
    library = importlib.import_module("bespokelabs.curator")
    importlib.import_module("bespokelabs.curator.request_processor.online.openai_online_request_processor")
    logging.disable(logging.WARNING)
    return library


def asked(_: Any, row: dict[str, Any]) -> str:
    """The text of a row as it is."""
    return str(row["text"])


def kept(_: Any, row: dict[str, Any], response: str) -> dict[str, Any]:
    """The row with the reply as a column."""
    return {**row, "output": response}


def client(library: Any, source: Path, out: Path, url: str, in_flight: int) -> None:
    """One LLM without limits of rate, in a folder that nothing of an earlier run is in."""
    ask: Any = type("Ask", (library.LLM,), {"prompt": asked, "parse": kept})(
        model_name="m",
        backend="openai",
        generation_params={"max_tokens": 300},
        backend_params={
            "base_url": url,
            "api_key": "none",
            "max_concurrent_requests": in_flight,
            "max_requests_per_minute": NO_LIMIT,
            "max_tokens_per_minute": NO_LIMIT,
        },
    )
    rows = [json.loads(line) for line in source.read_text("utf-8").splitlines()]
    with tempfile.TemporaryDirectory() as folder:
        ask(rows, working_dir=folder).dataset.to_json(str(out))


if __name__ == "__main__":
    run(partial(client, loaded()))
