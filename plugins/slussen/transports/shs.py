"""SHS 1.2 over HTTPS: one file a message, to and from one actor, through a node that knows us by our certificate.

A message's ``tx.id`` is made of its interchange by a keyed hash: sent again it is the same message, which the node
knows (``X-shs-duplicatemsg: yes``) and doesn't store again. Nothing is followed elsewhere, nothing is decompressed, and
an answer that isn't SHS's (a login page, a 202 without the message's id) is a refusal: a message counts as taken when
the node has repeated its id.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, BinaryIO, Self
from uuid import UUID

from slussen.errors import CallError, TransportError, TransportRefused
from slussen.keys import keyed
from slussen.transports import (
    TIMEOUT,
    ByMessage,
    Doubtful,
    Entry,
    Message,
    Missing,
    Notice,
    Sink,
    Unknown,
    carried,
    in_order,
    is_plain,
    matches,
    plain,
    tls,
    unusable,
)
from slussen.transports.https import Answering, silenced
from slussen.transports.mime import Part, parts
from slussen.transports.shs_http import LABEL, Content, boundary_of, certain, in_header, in_our_words, whole
from slussen.transports.shs_label import (
    CONFIRM,
    ERROR,
    NAMELESS,
    Data,
    Label,
    management,
    messages,
    parse,
    render,
    token,
)

if TYPE_CHECKING:
    import httpx

ANSWER, LISTED = 1 << 16, 1 << 24  # bytes that these may have
MOST = 1000  # messages that one list may hold
PASSING = {"MissingDeliveryExecution", "OtherError"}  # the others are wrong until somebody mends something
ADDRESS = re.compile(r"https://[^/\s]", re.IGNORECASE)
CODES = PASSING | {
    "UnresolvedReceiver", "MissingAgreement", "MissingDeliveryAddress", "IllegalProductType", "UnknownProductType",
    "IllegalReceiver", "UnknownReceiver", "IllegalSender", "UnknownSender", "IllegalOriginator", "IllegalEndRecipient",
    "IllegalMessageStructure", "IllegalDatapartContent",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who we are at which node, and whom we exchange files with; organisation numbers.

    ``cert`` is a file with our certificate and its key, ``ca`` one of certificates to trust instead of the system's.
    """

    url: str
    own: str
    partner: str
    product: str
    cert: str = ""
    ca: str = ""
    name: str = ""
    agreement: str = ""
    status: str = "production"
    datapart: str = "txt"


@dataclass(frozen=True, slots=True)
class _Waiting:
    label: Label
    refused: str = ""


class Shs(ByMessage):
    """Messages to and from one actor, of one product."""

    resends = True

    def __init__(self, actor: Actor) -> None:
        import httpx

        self._actor = actor
        context = tls.context(actor.ca, actor.cert)
        if not ADDRESS.match(actor.url):
            raise CallError("the connection's host must be the node's address: https://…; nothing is sent in the clear")
        silenced()
        in_time = Answering(TIMEOUT)
        self._client = httpx.Client(
            base_url=actor.url.rstrip("/"), verify=context, timeout=TIMEOUT, follow_redirects=False, trust_env=False,
            headers={"Accept-Encoding": "identity", "User-Agent": "slussen"},
            event_hooks={"request": [lambda request: request.extensions.update(trace=in_time)]},
        )  # fmt: skip
        self._found: dict[str, _Waiting] | None = None
        self._told: float | None = None

    @property
    def _http(self) -> httpx.Client:
        if self._client.is_closed:
            raise TransportError("SHS: the connection has been closed")
        return self._client

    # out

    def message_id(self, interchange: str) -> str:
        secret = next(iter(keyed([f"message {interchange}"])))
        return str(UUID(hex=secret[:32], version=5))

    def send(self, message: Message, source: BinaryIO) -> str:
        label, body = self._body(message)
        head, tail = body
        headers = {
            "Content-Type": "message/rfc822", "Content-Length": str(len(head) + message.bytes + len(tail)),
        }  # fmt: skip
        content = Content(head, source, message.bytes, tail)
        with self._sending(content), self._http.stream("POST", "/shs/rs", content=content, headers=headers) as answer:
            said = self._taken(answer, content)
        named = {answer.headers.get("X-shs-txid", "").strip(), said.decode("ascii", "replace").strip()}
        if label.tx_id not in named:
            raise Doubtful(
                f"SHS: something that is no node answered {answer.status_code} without the message's id. Next: look "
                "where the connection's address leads, then clear deliver: the message keeps its id"
            )
        local = answer.headers.get("X-shs-localid", "")
        duplicate = answer.headers.get("X-shs-duplicatemsg", "").strip().lower() == "yes"
        reference = token(local) if local else label.tx_id
        return f"{reference} duplicate" if duplicate else reference

    def _taken(self, answer: httpx.Response, content: Content) -> bytes:
        """The node's answer. That a whole message was not taken only a node can say, or who lets nobody through."""
        try:
            return self._answer(answer)
        except (TransportError, TransportRefused) as error:
            closed = 400 <= answer.status_code < 500 and answer.status_code != 408
            if not content.gone or closed or answer.headers.get("X-shs-errorcode", "").strip():
                raise
            if isinstance(error, TransportRefused):
                raise Doubtful(str(error)) from None
            raise Unknown(f"{error}, and not by the node: it may have taken the message") from None

    def _body(self, message: Message) -> tuple[Label, tuple[bytes, bytes]]:
        a = self._actor
        label = Label(
            tx_id=message.id,
            corr_id=message.answers or message.id,
            content_id=message.id,
            sender=a.own,
            to=a.partner,
            product=a.product,
            data=(Data(message.name, message.bytes, message.records, a.datapart),),
            datetime=datetime.now().astimezone().strftime("%Y-%m-%dT%H:%M:%S"),
            name=a.name,
            agreement=a.agreement,
            sequence="reply" if message.answers else "event",
            status="test" if a.status == "test" else "production",
        )
        boundary = f"=_{message.sha256[:48]}"
        name = in_header(carried(message.name))
        head = b"".join((
            f'Subject: SHS-message\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="{boundary}"\r\n\r\n'
            f"--{boundary}\r\nContent-Type: text/xml; charset=iso-8859-1\r\n"
            "Content-Transfer-Encoding: binary\r\n\r\n".encode(),
            render(label),
            f"\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\n"
            "Content-Transfer-Encoding: binary\r\n".encode(),
            b"Content-Disposition: attachment; " + name + b"\r\n\r\n",
        ))  # fmt: skip
        return label, (head, f"\r\n--{boundary}--\r\n".encode())

    @contextmanager
    def _sending(self, content: Content) -> Iterator[None]:
        """While the message isn't whole at the node it hasn't got it; afterwards its reply may be lost."""
        import httpx

        try:
            with in_our_words("SHS: sending", passes=(httpx.TransportError,)):
                yield
        except httpx.TransportError as error:
            certain(error, "SHS: sending")
            if content.gone and not isinstance(error, httpx.WriteError | httpx.WriteTimeout | httpx.ConnectError):
                raise Unknown("SHS: the message was handed over to the node, and its reply was lost") from None
            raise TransportError("SHS: sending: the connection broke before the message was whole") from None

    def _answer(self, answer: httpx.Response) -> bytes:
        """A short answer's body.

        Raises:
            TransportError: the node says that it may be tried again.
            TransportRefused: it says no, or isn't a node.
        """
        code = answer.headers.get("X-shs-errorcode", "").strip()
        if code or answer.status_code not in (200, 202):
            known = code if code in CODES else "an unknown error" if code else ""
            words = f"SHS: {answer.status_code}{f' {known}' if known else ''}"
            if code in PASSING or (not code and (answer.status_code >= 500 or answer.status_code in (408, 429))):
                raise TransportError(f"{words}: put off")
            if 300 <= answer.status_code < 400:
                raise TransportRefused(
                    f"{words}: sent elsewhere, and not followed. Next: mend the connection's address"
                )
            raise TransportRefused(f"{words}: refused. Next: agree with the node's operator on product and agreement")
        return whole(answer, ANSWER)

    # in

    def connect(self) -> None:
        """Ask for the list of what waits: that shows that the node knows us."""
        self._list(self._actor.product)

    def time(self) -> float | None:
        """The node's clock, as its last list said (RFC 9110, 6.6.1)."""
        return self._told

    def entries(self, pattern: str) -> list[Entry]:
        found = []
        for name, waiting in self._waiting().items():
            if matches(name, pattern):
                found.append(self._entry(name, waiting))
            elif name == waiting.label.tx_id and not waiting.refused:
                found.append(Entry(f"message {name} of the partner's, which names no file/", 0, name))
        return in_order(found)

    def stat(self, name: str) -> Entry | None:
        waiting = self._waiting().get(plain(name))
        return self._entry(name, waiting) if waiting else None

    def _entry(self, name: str, waiting: _Waiting) -> Entry:
        label = waiting.label
        size = label.data[0].bytes if label.data and not waiting.refused else 0
        if size < 0:  # a label need not say
            size = 0
            with suppress(TransportRefused):  # it can't be read: fetching it says so
                size = sum(map(len, self._file(label)))
        answers = label.corr_id if label.corr_id not in (label.tx_id, label.content_id) else ""
        return Entry(name, size, label.tx_id, answers)

    def _waiting(self) -> dict[str, _Waiting]:
        """The oldest message with a file of each name, the partner's before anybody's."""
        found: dict[str, _Waiting] = {}
        for label in self._list(self._actor.product, self._actor.partner):
            if label.status != self._actor.status and not label.wrong:
                continue
            refused = label.wrong
            if label.sender != self._actor.partner:
                refused = refused or "is of another sender than the partner"
            if len(label.data) != 1:
                refused = refused or "has not one file"
            name = (label.data[0].filename if label.data else "") or label.tx_id
            if name not in found or (found[name].refused and not refused):
                found[name] = _Waiting(label, refused)
        self._found = found
        return found

    def _list(self, product: str, *senders: str) -> list[Label]:
        """What waits, the oldest first; theirs before anybody's, where there is more than one list holds.

        Raises:
            TransportRefused: others' messages fill the list, and theirs can't be seen behind them.
        """
        found = self._page(product)
        if not senders or len(found) < MOST:
            return found
        theirs = {x.tx_id: x for sender in senders for x in self._page(product, sender) if x.sender in senders}
        theirs |= {x.tx_id: x for x in found}
        if not any(x.sender in senders for x in theirs.values()):
            raise TransportRefused(
                f"SHS: {MOST} messages of others wait at the node, and nothing behind them can be seen. Next: have "
                "them taken away at the node"
            )
        return list(theirs.values())

    def _page(self, product: str, sender: str = "") -> list[Label]:
        query = {
            "producttype": product, "filter": "noack", "maxhits": str(MOST), "sortattribute": "arrivaldate",
            "sortorder": "ascending", **({"originator": sender} if sender else {}),
        }  # fmt: skip
        with (
            in_our_words("SHS: listing"),
            self._http.stream("GET", f"/shs/ds/{self._actor.own}", params=query) as answer,
        ):
            self._good(answer)
            with suppress(ValueError):
                self._told = parsedate_to_datetime(answer.headers.get("Date", "")).timestamp()
            return [x for x in messages(whole(answer, LISTED)) if x.product == product]

    def _good(self, answer: httpx.Response) -> None:
        if answer.status_code == 404:
            raise Missing("SHS: no such message waits at the node")
        if answer.status_code != 200:
            self._answer(answer)
            raise TransportRefused(f"SHS: {answer.status_code} where a message, or a list, belongs")
        kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind == "text/html":
            raise TransportRefused(
                "SHS: a page for people where a message, or a list, belongs. Next: look where the connection's "
                "address leads"
            )

    def fetch(self, name: str, sink: Sink) -> Entry:
        if not is_plain(name):
            raise unusable(name)
        found = self._found if self._found is not None else self._waiting()
        if name not in found:
            raise Missing(f"{name}: no message at the node brings it")
        waiting = found[name]
        if waiting.refused:
            raise TransportRefused(
                f"{name}: the message {waiting.label.tx_id} that brings it {waiting.refused}. "
                "Next: have it taken away at the node"
            )
        said, got = waiting.label.data[0].bytes, 0
        for piece in self._file(waiting.label):
            sink.write(piece)
            got += len(piece)
        if said not in (-1, got):
            raise TransportError(f"{name}: {said} bytes announced, {got} came")
        return Entry(name, got, waiting.label.tx_id)

    def _file(self, listed: Label) -> Iterator[bytes]:
        """A message's file, as it comes."""
        with self._parts(listed.tx_id) as (label, following):
            if (label.tx_id, label.sender) != (listed.tx_id, listed.sender):
                raise TransportRefused(f"SHS: the message {listed.tx_id} is another than the list says")
            part = next(following, None)
            if part is None:
                raise TransportRefused(f"SHS: the message {listed.tx_id} has no file")
            yield from part.body
            for _ in following:  # to its last boundary
                raise TransportRefused(f"SHS: the message {listed.tx_id} has several files")

    @contextmanager
    def _parts(self, tx_id: str) -> Iterator[tuple[Label, Iterator[Part]]]:
        with self._message(tx_id) as (boundary, chunks):
            following = parts(boundary, chunks)
            yield _label(tx_id, following), following

    @contextmanager
    def _message(self, tx_id: str) -> Iterator[tuple[str, Iterator[bytes]]]:
        """The boundary of a message's parts, and its body."""
        path = f"/shs/ds/{self._actor.own}/{token(tx_id)}"
        with in_our_words("SHS: fetching"), self._http.stream("GET", path) as answer:
            self._good(answer)
            yield boundary_of(answer)

    def archive(self, seen: Entry, place: str) -> str:
        """Acknowledge it: where its agreement wants it, the node confirms to its sender."""
        tx_id = token(seen.modified)
        self._acknowledge(tx_id)
        self._found = None
        return f"acknowledged/{tx_id}"

    def _acknowledge(self, tx_id: str) -> None:
        path = f"/shs/ds/{self._actor.own}/{token(tx_id)}"
        with in_our_words("SHS: acknowledging"), self._http.stream("POST", path, params={"action": "ack"}) as answer:
            if answer.status_code == 404:
                raise Missing(f"SHS: the message {tx_id} is not at the node any more")
            said = self._answer(answer)
            if tx_id not in (answer.headers.get("X-shs-txid", "").strip(), said.decode("ascii", "replace").strip()):
                raise TransportRefused("SHS: something that is no node answered an acknowledgement. Next: look where "
                                       "the connection's address leads")  # fmt: skip

    # receipts

    def notices(self) -> list[Notice]:
        """Confirmations by the partner, and errors by him or the node; others' are left to those whose they are."""
        ours = (self._actor.partner, self._actor.own)
        return [self._notice(x) for product in (CONFIRM, ERROR) for x in self._list(product, *ours) if x.sender in ours]

    def _notice(self, listed: Label) -> Notice:
        """What comes whole from the node and is no receipt is about nothing; what doesn't come stays where it is."""
        nothing = Notice(listed.tx_id, "", "delivery", "rejected", "unparsable")
        if listed.wrong:
            return nothing
        with self._message(listed.tx_id) as (boundary, chunks):
            try:
                following = parts(boundary, chunks)
                label, part = _label(listed.tx_id, following), next(following, None)
                said = management(part.read(LABEL)) if part is not None else None
            except TransportRefused:
                said = None
            for _ in chunks:  # a fault of the connection would come now
                pass
        if said is None:
            return nothing
        if label.sender != listed.sender:
            return Notice(listed.tx_id, "", "delivery", "rejected", "from a stranger")
        wrong = label.product == ERROR
        if wrong != bool(said.code):
            return nothing
        return Notice(listed.tx_id, said.content_id, "delivery", "rejected" if wrong else "accepted", said.code)

    def settle(self, notice: Notice) -> None:
        if notice.reference.startswith(NAMELESS):
            return  # nothing can be asked of the node about it
        try:
            self._acknowledge(notice.reference)
        except Missing:
            return

    def close(self) -> None:
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _label(tx_id: str, following: Iterator[Part]) -> Label:
    """A message's first part."""
    first = next(following, None)
    if first is None:
        raise TransportRefused(f"SHS: the message {tx_id} has no label")
    return parse(first.read(LABEL))
