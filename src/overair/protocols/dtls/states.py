"""The handshake as a table: for each role, (state, input) → (action, next state).

A full handshake (RFC 6347 section 4.2.4; brackets: only in some):

    client                                   server
    ClientHello                         →
                                        ←    HelloVerifyRequest      nothing is kept until here
    ClientHello with the cookie         →                            the handshake begins
                                        ←    ServerHello
                                        ←    [ServerKeyExchange]
                                        ←    ServerHelloDone
    ClientKeyExchange                   →
    ChangeCipherSpec, Finished          →                            the server is done
                                        ←    [NewSessionTicket]
                                        ←    ChangeCipherSpec, Finished    so is the client

A resumed one, by session id or by ticket:

    ClientHello with the cookie         →
                                        ←    ServerHello
                                        ←    [NewSessionTicket]
                                        ←    ChangeCipherSpec, Finished
    ChangeCipherSpec, Finished          →                            both are done

An input is a handshake message in its turn, whole, and in the epoch where it belongs; whether a hello
begins a full or a resumed handshake is looked at before the table is. ChangeCipherSpec is no input: it
has no place in the order of messages, and the epoch in each record says the same under protection. What
is not in the table ends the handshake with the alert unexpected_message.

The messages of one side that follow each other are a flight. A flight is sent again when its answer does
not come in time, and when the peer sends the flight before it again. Who sends the last flight gets no
answer, and keeps it for `linger_seconds` or until application data shows that it arrived. The two roles
are therefore done at different times, and that is the only half-open moment: the one who waits repeats
its own flight, gets the last one again, or fails when `handshake_seconds` are over.
"""

from __future__ import annotations

import enum
from typing import Final, NamedTuple

from overair.protocols.dtls import codes


class State(enum.StrEnum):
    """What a side waits for."""

    START = "start"
    KEY_EXCHANGE = "key exchange"
    """The server: for the client's key exchange."""
    SERVER_HELLO = "server hello"
    """The client: for a request to verify its address, or a hello."""
    SERVER_KEY = "server key"
    """The client: for a key exchange if there is one, or the end of the server's flight."""
    HELLO_DONE = "hello done"
    FINISHED = "finished"
    """Either: for the peer's Finished in a full handshake."""
    RESUMED_FINISHED = "resumed finished"
    DONE = "done"


DONE: Final = State.DONE
"""By itself, because a look at a member through its class costs more than the comparison."""


class Input(enum.StrEnum):
    """What makes a side go on."""

    BEGIN = "begin"
    HELLO_VERIFY_REQUEST = "HelloVerifyRequest"
    FULL_CLIENT_HELLO = "ClientHello, full"
    RESUMING_CLIENT_HELLO = "ClientHello, resuming"
    FULL_SERVER_HELLO = "ServerHello, full"
    RESUMING_SERVER_HELLO = "ServerHello, resuming"
    SERVER_KEY_EXCHANGE = "ServerKeyExchange"
    SERVER_HELLO_DONE = "ServerHelloDone"
    CLIENT_KEY_EXCHANGE = "ClientKeyExchange"
    NEW_SESSION_TICKET = "NewSessionTicket"
    FINISHED = "Finished"


INPUTS: Final[dict[tuple[int, int], Input]] = {
    (0, codes.HELLO_VERIFY_REQUEST): Input.HELLO_VERIFY_REQUEST,
    (0, codes.SERVER_KEY_EXCHANGE): Input.SERVER_KEY_EXCHANGE,
    (0, codes.SERVER_HELLO_DONE): Input.SERVER_HELLO_DONE,
    (0, codes.CLIENT_KEY_EXCHANGE): Input.CLIENT_KEY_EXCHANGE,
    (0, codes.NEW_SESSION_TICKET): Input.NEW_SESSION_TICKET,
    (1, codes.FINISHED): Input.FINISHED,
}
"""The input that a message of an epoch is; hellos have two each."""


class Step(NamedTuple):
    """The method of the role that acts, and where it leads."""

    action: str
    next: State


Table = dict[tuple[State, Input], Step]

SERVER: Final[Table] = {
    (State.START, Input.FULL_CLIENT_HELLO): Step("offer_full", State.KEY_EXCHANGE),
    (State.START, Input.RESUMING_CLIENT_HELLO): Step("offer_resumed", State.RESUMED_FINISHED),
    (State.KEY_EXCHANGE, Input.CLIENT_KEY_EXCHANGE): Step("take_key_exchange", State.FINISHED),
    (State.FINISHED, Input.FINISHED): Step("finish_full", State.DONE),
    (State.RESUMED_FINISHED, Input.FINISHED): Step("finish_resumed", State.DONE),
}

CLIENT: Final[Table] = {
    (State.START, Input.BEGIN): Step("say_hello", State.SERVER_HELLO),
    (State.SERVER_HELLO, Input.HELLO_VERIFY_REQUEST): Step("say_hello_again", State.SERVER_HELLO),
    (State.SERVER_HELLO, Input.FULL_SERVER_HELLO): Step("take_full_hello", State.SERVER_KEY),
    (State.SERVER_HELLO, Input.RESUMING_SERVER_HELLO): Step("take_resumed_hello", State.RESUMED_FINISHED),
    (State.SERVER_KEY, Input.SERVER_KEY_EXCHANGE): Step("take_server_key", State.HELLO_DONE),
    (State.SERVER_KEY, Input.SERVER_HELLO_DONE): Step("send_key_exchange", State.FINISHED),
    (State.HELLO_DONE, Input.SERVER_HELLO_DONE): Step("send_key_exchange", State.FINISHED),
    (State.FINISHED, Input.NEW_SESSION_TICKET): Step("take_ticket", State.FINISHED),
    (State.FINISHED, Input.FINISHED): Step("finish_full", State.DONE),
    (State.RESUMED_FINISHED, Input.NEW_SESSION_TICKET): Step("take_ticket", State.RESUMED_FINISHED),
    (State.RESUMED_FINISHED, Input.FINISHED): Step("finish_resumed", State.DONE),
}
