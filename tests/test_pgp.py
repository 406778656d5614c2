"""OpenPGP: what is sent can be read by the partner alone and by GnuPG, is made once, and comes back only as it went."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from pysequoia import Tsk

from sandbox.postgres import Server
from slussen import settings
from slussen.database import migrate
from slussen.errors import CallError, ContentError, NameTaken
from slussen.integration import Integration, directory
from slussen.ledger import Ledger
from slussen.manifest import Manifest
from slussen.payloads import PayloadStore
from slussen.pgp import Key, protect, recover
from slussen.rendering import convert
from slussen.seals import Envelope, kvv
from slussen.wrapping import Keys, opened, sealed_or_encrypted

CONTENT = "Åsa Öberg;Ängsvik\n".encode("iso8859-1") * 2000
SEAL = bytes.fromhex("1234567890ABCDEF1234567890ABCDEF")


class Party:
    """Somebody with a key."""

    def __init__(self, name: str) -> None:
        self.tsk = Tsk.generate(user_id=f"{name} <{name}@example.org>")
        self.secret = Key(f"pgp_{name}", bytes(self.tsk))
        self.public = Key(f"pgp_{name}", bytes(self.tsk.extract_certificate()))
        self.fingerprint = self.tsk.extract_certificate().fingerprint


@pytest.fixture(scope="module")
def we() -> Party:
    return Party("slussen")


@pytest.fixture(scope="module")
def they() -> Party:
    return Party("csn")


@pytest.fixture
def store(tmp_path: Path) -> PayloadStore:
    return PayloadStore(tmp_path / "payloads")


def put(store: PayloadStore, data: bytes) -> Manifest:
    with store.writer() as sink:
        sink.write(data)
    return Manifest(integration="x", interchange="x-1", name="x.txt", sha256=sink.sha256, bytes=sink.bytes)


def test_encrypted_and_signed_it_comes_back_as_it_went_and_says_whose_keys(
    tmp_path: Path, we: Party, they: Party
) -> None:
    plain, closed, back = tmp_path / "plain", tmp_path / "closed", tmp_path / "back"
    plain.write_bytes(CONTENT)
    with plain.open("rb") as source:
        said = protect(source, closed, encrypt_to=they.public, sign_with=we.secret)
    assert said == {"signed_by": we.fingerprint, "encrypted_to": they.fingerprint}
    assert "Ängsvik".encode("iso8859-1") not in closed.read_bytes()
    with closed.open("rb") as source:
        assert recover(source, back, encrypt_to=they.secret, sign_with=we.public) == said
    assert back.read_bytes() == CONTENT


def test_what_comes_unencrypted_is_not_said_to_have_been_encrypted(tmp_path: Path, we: Party, they: Party) -> None:
    """Whether it is signed or not."""
    signed, back = tmp_path / "signed", tmp_path / "back"
    (tmp_path / "plain").write_bytes(CONTENT)
    with (tmp_path / "plain").open("rb") as source:
        protect(source, signed, encrypt_to=None, sign_with=they.secret)
    literal = b"b\x01x\0\0\0\0" + b"Aspv\xe4gen"  # RFC 9580, 5.9
    (tmp_path / "literal").write_bytes(bytes([0xC0 | 11, len(literal)]) + literal)
    for name, sender in (("signed", they.public), ("signed", None), ("literal", None)):
        with (tmp_path / name).open("rb") as source, pytest.raises(ContentError, match="it isn't encrypted"):
            recover(source, back, encrypt_to=we.secret, sign_with=sender)


def test_signed_alone_it_is_verified(tmp_path: Path, we: Party, they: Party) -> None:
    plain, closed, back = tmp_path / "plain", tmp_path / "closed", tmp_path / "back"
    plain.write_bytes(CONTENT)
    with plain.open("rb") as source:
        protect(source, closed, encrypt_to=None, sign_with=we.secret)
    with closed.open("rb") as source:
        recover(source, back, encrypt_to=None, sign_with=we.public)
    assert back.read_bytes() == CONTENT
    spoilt = bytearray(closed.read_bytes())
    spoilt[len(spoilt) // 2] ^= 1
    closed.write_bytes(spoilt)
    for key in (we.public, they.public):
        with closed.open("rb") as source, pytest.raises(ContentError):
            recover(source, back, encrypt_to=None, sign_with=key)


@pytest.mark.parametrize("case", ["another recipient", "unsigned", "another signer", "changed", "cut", "no message"])
def test_what_is_not_for_us_or_not_from_the_sender_is_refused_in_our_own_words(
    tmp_path: Path, store: PayloadStore, we: Party, they: Party, case: str
) -> None:
    target = directory("x", "x", encrypt_to="a", sign_with="" if case == "unsigned" else "b")
    keys = Keys(encrypt_to=they.public, sign_with=they.secret if case == "another signer" else we.secret)
    if case == "unsigned":
        keys = Keys(encrypt_to=they.public)
    closed, _ = sealed_or_encrypted(put(store, CONTENT), target, keys, store, 1)
    data = store.open(closed.sha256).read()
    match case:
        case "changed":
            data = data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :]
        case "cut":
            data = data[:-30]
        case "no message":
            data = CONTENT
    source = directory("x", "x", encrypt_to="a", sign_with="b")
    secret = we.secret if case == "another recipient" else they.secret
    with pytest.raises(ContentError) as refused:
        opened(put(store, data), source, Keys(encrypt_to=secret, sign_with=we.public), store)
    text = str(refused.value)
    assert "[pgp]" in text
    assert "Next:" in text
    assert not any(word in text for word in ("backtrace", "example.org", "Ängsvik"))
    assert not list((store.root / "incoming").iterdir())


def test_a_key_that_is_none_and_a_passphrase_that_is_wrong_are_the_callers_fault(tmp_path: Path, they: Party) -> None:
    plain = tmp_path / "plain"
    plain.write_bytes(CONTENT)
    for key in (Key("pgp_csn", b"hemlig"), Key("pgp_csn", b"")):
        with plain.open("rb") as source, pytest.raises(CallError, match="pgp_csn holds no OpenPGP") as refused:
            protect(source, tmp_path / "out", encrypt_to=key, sign_with=None)
        assert "hemlig" not in str(refused.value) + repr(key)
    with plain.open("rb") as source, pytest.raises(CallError, match="can't be used to sign"):
        protect(source, tmp_path / "out", encrypt_to=None, sign_with=they.public)


def test_a_missing_key_names_its_connection(store: PayloadStore) -> None:
    for target in (directory("agresso", "x", encrypt_to="pgp_agresso"), directory("agresso", "x", seal="hmac")):
        with pytest.raises(CallError, match="agresso"):
            sealed_or_encrypted(put(store, CONTENT), target, Keys(), store, 1)


def test_a_seal_an_envelope_and_openpgp_come_off_in_the_order_that_they_were_put_on(
    store: PayloadStore, we: Party, they: Party
) -> None:
    plain = put(store, CONTENT)
    options = {"encoding": "iso8859-1", "seal": "envelope", "encrypt_to": "a", "sign_with": "b"}
    sending = Keys(seal=SEAL, envelope=Envelope("CSN", "STHLM"), encrypt_to=they.public, sign_with=we.secret)
    closed, said = sealed_or_encrypted(plain, directory("x", "x", **options), sending, store, 7)
    assert said["seal"]["kvv"] == kvv(SEAL)
    assert said["plain"] == plain.sha256
    assert closed.made_from == (plain.sha256,)
    receiving = Keys(seal=SEAL, encrypt_to=they.secret, sign_with=we.public)
    back, found = opened(closed, directory("x", "x", **options), receiving, store)
    assert back.sha256 == plain.sha256
    assert found["seal"] == said["seal"]
    assert found["pgp"] == said["pgp"]


@pytest.fixture
def ledger(postgres: Server) -> Ledger:
    dsn = postgres.dsn("pgp")
    migrate(dsn, settings.SQL / "migrations" / "slussen")
    return Ledger(f"{dsn} user=slussen")


def relayed(**options: str) -> Integration:
    end = {"encoding": "cp1252", "frame": "lf"}
    return Integration(
        key="x", title="x", sender="A", receiver="B", source=directory("a", "*", **end),
        target=directory("b", "{source}", **end, **options), layout="navet_infil", persons="pass",
        persons_reason="test",
    )  # fmt: skip


def test_what_openpgp_made_is_fixed_once_and_a_repeat_sends_the_same_bytes(
    store: PayloadStore, ledger: Ledger, we: Party, they: Party
) -> None:
    integration, keys = relayed(encrypt_to="a", sign_with="b"), Keys(encrypt_to=they.public, sign_with=we.secret)
    manifest = put(store, CONTENT).but(interchange="x-once")
    made = [convert(integration, manifest, ledger, store, day=date(2026, 1, 12), keys=keys) for _ in range(3)]
    assert len({m.sha256 for m in made}) == 1
    assert made[0].sha256 != manifest.sha256
    assert made[0] == made[1]
    [content] = [e for e in ledger.events("x-once") if e.kind == "content"]
    assert content.data["sha256"] == made[0].sha256
    assert content.data["plain"] == manifest.sha256
    assert content.data["pgp"] == {"encrypted_to": they.fingerprint, "signed_by": we.fingerprint}
    assert store.open(made[2].sha256).read() != CONTENT


def test_of_two_attempts_that_encrypt_at_once_both_send_the_first_ones_bytes(
    store: PayloadStore, ledger: Ledger, they: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    integration, keys = relayed(encrypt_to="a"), Keys(encrypt_to=they.public)
    manifest = put(store, CONTENT).but(interchange="x-race")
    first: list[Manifest] = []

    class Overtaken(Ledger):
        """The other attempt comes in between this one's look and its write."""

        def append(self, stream: str, kind: str, *args: object, **kwargs: object):  # type: ignore[override,no-untyped-def]  # noqa: ANN202
            if not first:
                first.append(convert(integration, manifest, ledger, store, day=date(2026, 1, 12), keys=keys))
            return super().append(stream, kind, *args, **kwargs)  # type: ignore[arg-type]

    second = convert(integration, manifest, Overtaken(ledger._dsn), store, day=date(2026, 1, 12), keys=keys)
    assert second == first[0]


def test_a_source_that_has_changed_holds_an_encrypted_interchange_too(
    store: PayloadStore, ledger: Ledger, they: Party
) -> None:
    integration, keys = relayed(encrypt_to="a"), Keys(encrypt_to=they.public)
    manifest = put(store, CONTENT).but(interchange="x-changed")
    convert(integration, manifest, ledger, store, day=date(2026, 1, 12), keys=keys)
    other = put(store, CONTENT + CONTENT).but(interchange="x-changed")
    with pytest.raises(NameTaken, match="the source has changed"):
        convert(integration, other, ledger, store, day=date(2026, 1, 12), keys=keys)


def test_a_seal_alone_changes_nothing_and_stands_in_the_ledger(store: PayloadStore, ledger: Ledger) -> None:
    manifest = put(store, CONTENT).but(interchange="x-sealed")
    done = convert(relayed(seal="hmac"), manifest, ledger, store, day=date(2026, 1, 12), keys=Keys(seal=SEAL))
    assert done.sha256 == manifest.sha256
    [content] = [e for e in ledger.events("x-sealed") if e.kind == "content"]
    assert content.data["seal"]["method"] == "HMAC-SHA256-128"
    assert content.data["seal"]["kvv"] == kvv(SEAL)
    assert len(content.data["seal"]["hmac"]) == 32
    assert SEAL.hex() not in str(content.data).lower()


class Gpg:
    """GnuPG with a home of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        home.mkdir(mode=0o700)

    def __call__(self, *arguments: str, given: bytes | None = None) -> bytes:
        command = ["gpg", "--homedir", str(self.home), "--batch", "--yes", "--quiet", "--trust-model", "always"]
        done = subprocess.run([*command, *arguments], input=given, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout


@pytest.fixture
def gpg(tmp_path: Path) -> Iterator[Gpg]:
    if shutil.which("gpg") is None:
        pytest.skip("no gpg on this machine (Debian: apt-get install gnupg)")
    home = Path("/tmp") / f"gpg-{os.getpid()}"  # the agent's socket has a short path
    try:
        yield Gpg(home)
    finally:
        subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "gpg-agent"], check=False)
        shutil.rmtree(home, ignore_errors=True)


def test_gnupg_reads_what_we_send_and_we_read_what_gnupg_sends(gpg: Gpg, tmp_path: Path, we: Party) -> None:
    passphrase = ("--pinentry-mode", "loopback", "--passphrase", "lösen ord")
    gpg(*passphrase, "--quick-generate-key", "Partner <partner@example.org>", "rsa2048", "default", "1y")
    gpg(*passphrase, "--quick-add-key", gpg("--list-keys", "--with-colons").decode().split("fpr:::::::::")[1][:40],
        "rsa2048", "encr", "1y")  # fmt: skip
    certificate = Key("pgp_partner", gpg("--armor", "--export", "partner@example.org"))
    gpg("--import", given=we.public.data)
    plain, closed, back = tmp_path / "plain", tmp_path / "closed", tmp_path / "back"
    plain.write_bytes(CONTENT)
    with plain.open("rb") as source:
        protect(source, closed, encrypt_to=certificate, sign_with=we.secret)
    told = gpg(*passphrase, "--status-fd", "1", "--output", str(back), "--decrypt", str(closed))
    assert back.read_bytes() == CONTENT
    assert b"GOODSIG" in told
    assert we.fingerprint.upper().encode() in told
    send = ("--local-user", "partner@example.org", "--recipient", we.fingerprint, "--output", str(closed))
    for options in ((), ("--armor",)):
        gpg(*passphrase, *options, "--compress-algo", "none", *send, "--sign", "--encrypt", str(plain))
        with closed.open("rb") as source:
            recover(source, back, encrypt_to=we.secret, sign_with=certificate)
        assert back.read_bytes() == CONTENT
    gpg(*passphrase, *send, "--encrypt", str(plain))
    with closed.open("rb") as source:
        recover(source, back, encrypt_to=we.secret, sign_with=None)
    assert back.read_bytes() == CONTENT
    gpg(*passphrase, *send, "--sign", "--encrypt", str(plain))
    with closed.open("rb") as source, pytest.raises(ContentError, match="--compress-algo none"):
        recover(source, back, encrypt_to=we.secret, sign_with=certificate)
    secret = gpg(*passphrase, "--armor", "--export-secret-keys", "partner@example.org")
    with plain.open("rb") as source:
        protect(source, closed, encrypt_to=None, sign_with=Key("pgp_partner", secret, "lösen ord"))
    assert b"GOODSIG" in gpg("--status-fd", "1", "--output", str(back), "--decrypt", str(closed))
    with plain.open("rb") as source, pytest.raises(CallError, match="passphrase"):
        protect(source, closed, encrypt_to=None, sign_with=Key("pgp_partner", secret, "fel"))


MEASURE = r"""
import re, sys
from pathlib import Path
from slussen.pgp import Key, protect, recover
from pysequoia import Tsk
key, source, target = (Path(a) for a in sys.argv[2:])
def peak():  # of this program alone: what getrusage tells includes the parent's
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])
secret = key.read_bytes()
public = bytes(Tsk.from_bytes(secret).extract_certificate())
before = peak()
with source.open("rb") as f:
    protect(f, target, encrypt_to=Key("k", public), sign_with=Key("k", secret))
print((peak() - before) // 1024)
"""


@pytest.mark.parametrize(("closing", "signed"), [("--encrypt", True), ("--encrypt", False), ("--sign", True)])
def test_a_message_that_grows_a_thousandfold_is_refused_before_the_disk_is_full(
    gpg: Gpg, tmp_path: Path, we: Party, they: Party, monkeypatch: pytest.MonkeyPatch, closing: str, signed: bool
) -> None:
    monkeypatch.setattr("slussen.pgp.SMALL", 1 << 20)
    plain, closed, made = tmp_path / "plain", tmp_path / "closed", tmp_path / "made"
    with plain.open("wb") as file:
        file.truncate(300 << 20)
    gpg("--import", given=we.secret.data)
    gpg("-r", we.fingerprint, "-u", we.fingerprint, "--compress-algo", "zip", "--output", str(closed), closing,
        str(plain))  # fmt: skip
    before, limit = peak(), resource.getrlimit(resource.RLIMIT_FSIZE)
    with closed.open("rb") as source, pytest.raises(ContentError, match=r"grows to more than 5\d MB.*Next: ask"):
        recover(source, made, encrypt_to=we.secret if closing == "--encrypt" else None,
                sign_with=they.public if signed else None)  # fmt: skip
    assert made.stat().st_size < 60 << 20
    assert peak() - before < 200, "of three hundred"
    assert resource.getrlimit(resource.RLIMIT_FSIZE) == limit


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def test_encrypting_takes_the_same_little_memory_whatever_the_size(
    tmp_path: Path, we: Party, capsys: pytest.CaptureFixture[str]
) -> None:
    key, source = tmp_path / "key", tmp_path / "source"
    key.write_bytes(we.secret.data)
    with source.open("wb") as out:
        for _ in range(200):
            out.write(os.urandom(1 << 20))
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, "-", str(key), str(source), str(tmp_path / "out")],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(settings.ROOT / "plugins")},
    )  # fmt: skip
    with capsys.disabled():
        print(f"\n  encrypting and signing 200 MB takes {done.stdout.strip()} MB of memory")
    assert int(done.stdout) < 50
