"""Secrets: none of them gets into any byte of any file, nor into logs, errors or reprs."""

import base64
import json
import logging
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fanfold.core.records import Message, Reply, Request, Usage
from fanfold.errors import StatusError
from fanfold.journal import Journal, redaction
from fanfold.journal.redaction import REDACTED, Redactor
from tests.journal.books import MODEL, begun, call, entries, with_journal

# Written in two parts each, so that this file holds none of them whole.
SHAPES = {
    "openai": "sk-" + "proj-Ab12Cd34Ef56Gh78Ij90Kl12",
    "anthropic": "sk-" + "ant-api03-Zz99Yy88Xx77Ww66Vv55Uu44",
    "aws": "AKIA" + "IOSFODNN7EXAMPLE",
    "google": "AIza" + "SyA1234567890abcdefghijklmnopqrstu",
    "github": "ghp_" + "16C7e42F292c6912E7710c838347Ae178B4a",
    "huggingface": "hf_" + "AbCdEfGhIjKlMnOpQrStUvWx12345678",
    "slack": "xoxb-" + "123456789012-abcdefABCDEF",
    "jwt": "eyJ" + "hbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dBjftJeZ4CVP",
    "bearer": "Bearer " + "0a1b2c3d4e5f6a7b8c9d",
    "url": "https://" + "alice:s3cr3tPassw0rd" + "@db.example.com/x",
    "pem": "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7b\nQ9+z/1\n-----END RSA PRIVATE KEY-----",
    "setting": "api_key=" + "9f8e7d6c5b4a39281706f5e4",
}
PARTS = {
    **SHAPES,
    "bearer": "0a1b2c3d4e5f6a7b8c9d",
    "url": "s3cr3tPassw0rd",
    "pem": "MIIEpAIBAAKCAQEA7b",
    "setting": "9f8e7d6c5b4a39281706f5e4",
}
"""What of each must be gone."""


@pytest.mark.parametrize("shape", SHAPES)
def test_what_has_the_shape_of_a_secret_is_taken_out(shape: str) -> None:
    """Twelve shapes of keys and passwords, in prose and inside JSON inside JSON, are gone, and it is still JSON."""
    redactor = Redactor()
    prose = f"Look: {SHAPES[shape]} is mine."
    nested = json.dumps({"content": json.dumps({"text": prose}), "n": 1})
    for text in (prose, json.dumps({"content": prose}), nested):
        cleaned = redactor.clean(text)
        assert PARTS[shape] not in cleaned
        assert REDACTED in cleaned
        assert " is mine." in cleaned
    assert json.loads(redactor.clean(nested))["n"] == 1


@pytest.mark.parametrize(
    "text",
    [
        "The key: 2024-05-01 was a Wednesday.",
        "sk-learn-based-classifiers are classifiers",
        "A basic understanding of basic responsibilities",
        "the bearer certificates of old, the token: of affection",
        "https://example.com/a:b/c@d?x=1",
        '{"input_tokens": 12345678901234567890, "max_tokens":100}',
        "monkey = 1234567890123456 bananas",
        "password: correct horse battery staple",
        "hf_tokenizer_of_some_kind_or_other",
    ],
)
def test_prose_stays_as_it_is(text: str) -> None:
    """A reply has to be given back as it was: what only looks a little like a secret is left alone."""
    assert Redactor().clean(text) == text


PIECES = [
    *[part for text in SHAPES.values() for part in (text, text[: len(text) // 2], text[len(text) // 2 :])],
    *[sign for _, sign, _ in redaction._SHAPES],
    *["xoxb-", "token: ", "SECRET=", 'password\\":\\"', "a1b2c3d4", "abcdefgh", "0123456789", "ABCDEFGH12", "9"],
    *["é", "密码", " ", "\n", "\\n", '"', "-----", "BEGIN ", ".", "@", ":", "/", "known-1", "a known one", "x"],
]


@settings(max_examples=1500, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_nothing_is_overlooked_by_the_quick_look(text: str) -> None:
    """What the quick look calls clean holds nothing that the thorough one takes out, whatever stands beside it."""
    redactor = Redactor(["known-1 of mine", "a known one", "one-long-enough-to-show"])
    if not redactor.suspects(text.encode()):
        assert redactor._cut(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "xoxb-" + "123456789a",
        "Basic " + "YWxpY2U6czNj",
        "bearer " + "0a1b2c3d4e5f",
        "token=" + "a1b2c3d4e5f6a7b8",
        "AKIA" + "IOSFODNN7EXAMPLE",
        "https://" + "a:b" + "@host",
        "known-1!",
    ],
)
def test_the_shortest_of_each_shape_is_taken_out(text: str) -> None:
    """A shape's shortest secrets do not slip through for being short, in text of any other script neither."""
    redactor = Redactor(["known-1!"])
    for around in ("", "so: ", "密码 "):
        assert REDACTED in redactor.clean(f"{around}{text} .")


@pytest.mark.parametrize("shape", [name for name in SHAPES if name not in {"bearer", "url", "pem", "setting"}])
@pytest.mark.parametrize("before", ["\n", "\t", "\r\n", "\x1b", "密钥是", "clé"])
def test_a_key_is_found_where_a_line_begins(shape: str, before: str) -> None:
    """A prompt is searched as JSON, where a line's end is written with a letter; other scripts put no spaces."""
    secret = SHAPES[shape]
    asked = msgspec.json.encode({"content": f"It is:{before}{secret}\nand that is all"}).decode()
    nested = json.dumps({"content": asked})
    for text in (asked, nested, f"It is:{before}{secret}密钥"):
        assert secret not in Redactor().clean(text)
    assert json.loads(Redactor().clean(asked))["content"] == f"It is:{before}{REDACTED}\nand that is all"


def test_what_is_cut_out_of_stays_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A number under a name that is that of a key stays, and one that is a known secret becomes a text."""
    monkeypatch.setenv("MY_SERVICE_PASSWORD", "12345678")
    path = tmp_path / "j.db"
    price = {"usd_per_token": 5e-06 / 3, "api_key": SHAPES["setting"].partition("=")[2]}
    pins = {"pin": 12345678, "said": ["12345678 it is", 87654321]}
    digests = [b"0" * 16, b"1" * 16]

    async def record(journal: Journal) -> None:
        book = await begun(journal, key="row")
        for digest, value in zip(digests, (price, pins), strict=True):
            await book.keep_value("run", 0, digest, value)
        key = Request((Message("user", "12345678"),), extra_body={"seed": 12345678}).key()
        await book.keep(book.digest(MODEL, key), key, call("run", 0), Reply(("yes",), Usage(1, 1)))

    async def again(journal: Journal) -> list[object]:
        book = await begun(journal, key="row")
        return [msgspec.json.decode(book.value("run", 0, digest)) for digest in digests]

    with_journal(path, record)
    (kept,) = entries(path, "kind = 'call'")
    assert b"12345678" not in path.read_bytes()
    assert json.loads(kept.body)["request"]["extra_body"] == {"seed": REDACTED}
    assert with_journal(path, again) == [
        {"usd_per_token": 5e-06 / 3, "api_key": REDACTED},
        {"pin": REDACTED, "said": [f"{REDACTED} it is", 87654321]},
    ]


def test_most_texts_are_told_by_a_quick_look() -> None:
    """Prose without a secret, the words token and key in it, is not searched shape by shape."""
    prose = "Which of these mails is spam? Say why, in two lines: the key token is 7 (see https://example.com)."
    assert not Redactor().suspects(prose.encode())


def test_known_secrets_are_taken_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment's keys, and those that it was told of, are gone, also as JSON writes them."""
    monkeypatch.setenv("MY_SERVICE_TOKEN", "plain words that are secret")
    redactor = Redactor(['with "quotes" and \\'])
    assert redactor.clean("say plain words that are secret!") == f"say {REDACTED}!"
    encoded = msgspec.json.encode({"said": 'with "quotes" and \\'}).decode()
    assert redactor.clean(encoded) == f'{{"said":"{REDACTED}"}}'
    assert "quotes" not in repr(redactor)


def test_no_byte_of_any_file_holds_a_secret(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Planted in prompts, replies, errors, places, names and keys: 0 hits in database, WAL, lock and log."""
    caplog.set_level(logging.DEBUG)
    own = "the session's own k3y"
    texts = [*SHAPES.values(), own]
    seen = b""

    def everything() -> bytes:
        return b"".join(file.read_bytes() for file in tmp_path.iterdir())

    async def work(journal: Journal) -> None:
        nonlocal seen
        journal.hide([own])
        for number, secret in enumerate(texts):
            book = await begun(journal, f"step {secret}", key=f"row {secret}")
            asked = Request((Message("user", f"What is {secret}?"),), extra_body={"auth": secret})
            key = asked.key()
            digest = book.digest(MODEL, key)
            made = call(f"run/{secret}", number)
            await book.keep(digest, key, made, Reply((f"It is {secret}.",), Usage(1, 1)))
            error = StatusError(f"refused {secret}", status=401, body=secret, code=secret)
            book.note(digest, key, call("run", number, state="error", error=f"StatusError: {error}"), error)
            await book.keep_value("run", 0, b"", {"secret": secret})
            book.end(error)
            assert secret not in repr(journal)
        await journal._owned().ask(lambda _: None)
        seen = everything()

    with_journal(tmp_path / "j.db", work)
    seen += everything()
    seen += caplog.text.encode()
    for secret in [*PARTS.values(), own]:
        assert secret.encode() not in seen
        assert base64.b64encode(secret.encode()) not in seen
    assert REDACTED.encode() in seen


def test_a_place_with_a_secret_is_found_again(tmp_path: Path) -> None:
    """What is looked up is redacted as what was written was, so that a run resumes all the same."""
    path = tmp_path / "j.db"
    place = f"run/{SHAPES['github']}"

    async def write(journal: Journal) -> None:
        book = await begun(journal)
        key = Request((Message("user", "hello"),)).key()
        await book.keep(book.digest(MODEL, key), key, call(place), Reply(("here",), None))

    async def read(journal: Journal) -> str:
        book = await begun(journal)
        key = Request((Message("user", "hello"),)).key()
        found = book.found(book.digest(MODEL, key), call(place).draw, settled=False)
        return found.reply.text

    with_journal(path, write)
    assert with_journal(path, read) == "here"
