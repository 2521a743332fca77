"""Request bodies that arrive by Block1 (RFC 7959 section 2.5; spec lwm2m.md 12.3, 13.2).

Blocks must come in order. A block that repeats what is already there is answered as before, since a
device may wake up and send the same one with a new message id; anything else out of order is a gap.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, NamedTuple

from overair.protocols.coap import codes
from overair.protocols.coap.message import Message
from overair.protocols.coap.options import RESERVED_SZX, Block, Options, encode_uint, szx_of, without
from overair.protocols.coap.parameters import CoapLimits, Parameters
from overair.protocols.coap.peers import Peer

Resource = tuple[int, Options]
_TransferKey = tuple[Peer, Resource]

_TRANSFER_OPTIONS: Final = (codes.BLOCK1, codes.BLOCK2, codes.SIZE1, codes.SIZE2)


class BlockReply(NamedTuple):
    """An answer to one block that ends or continues the transfer without the application."""

    code: int
    options: Options = ()


class _Assembly:
    __slots__ = ("body", "touched")

    def __init__(self) -> None:
        self.body = bytearray()
        self.touched = 0.0


class Assemblies:
    """The unfinished bodies of all peers, least recently fed first."""

    def __init__(self, limits: CoapLimits, parameters: Parameters) -> None:
        self._limits = limits
        self._lifetime = parameters.exchange_lifetime_seconds
        self._accepted_block_size = parameters.accepted_block_size
        self._transfers: OrderedDict[_TransferKey, _Assembly] = OrderedDict()
        self._of_peer: dict[Peer, list[Resource]] = {}
        self.held_bytes = 0
        self.evicted = 0

    def __len__(self) -> int:
        """Unfinished bodies."""
        return len(self._transfers)

    def has(self, peer: Peer) -> bool:
        """Whether a transfer of this peer is running."""
        return peer in self._of_peer

    def take(self, peer: Peer, message: Message, block: Block, now: float) -> bytes | BlockReply:
        """Feed one block: the whole body after the last one, until then the answer to send."""
        self.expire(now)
        refusal = self._refusal(message, block)
        if refusal is not None:
            return refusal
        resource = (message.code, without(message.options, *_TRANSFER_OPTIONS))
        key = (peer, resource)
        if block.number == 0:
            self._drop(key)
            if not block.more:
                return message.payload
            self._begin(key)
        assembly = self._transfers.get(key)
        if assembly is None or not self._feed(assembly, block, message.payload):
            return BlockReply(codes.REQUEST_ENTITY_INCOMPLETE)
        assembly.touched = now
        self._transfers.move_to_end(key)
        if block.more:
            self._evict()
            return BlockReply(codes.CONTINUE, ((codes.BLOCK1, block.encode()),))
        self._drop(key)
        return bytes(assembly.body)

    def expire(self, now: float) -> None:
        """Drop what was not fed for a lifetime."""
        transfers = self._transfers
        while transfers:
            key, assembly = next(iter(transfers.items()))
            if assembly.touched + self._lifetime > now:
                break
            self._drop(key)

    def _refusal(self, message: Message, block: Block) -> BlockReply | None:
        """The answer to a block that breaks a rule whatever came before it."""
        if block.szx == RESERVED_SZX or len(message.payload) > block.size_bytes:
            return BlockReply(codes.BAD_REQUEST)
        if block.size_bytes > self._accepted_block_size:
            hint = Block(block.number, block.more, szx_of(self._accepted_block_size))
            return BlockReply(codes.REQUEST_ENTITY_TOO_LARGE, ((codes.BLOCK1, hint.encode()),))
        if block.more and len(message.payload) != block.size_bytes:
            return BlockReply(codes.BAD_REQUEST)
        most = self._limits.request_bytes
        announced = message.uint_option(codes.SIZE1) or 0
        if max(announced, block.offset + len(message.payload)) > most:
            return BlockReply(codes.REQUEST_ENTITY_TOO_LARGE, ((codes.SIZE1, encode_uint(most)),))
        return None

    def _feed(self, assembly: _Assembly, block: Block, payload: bytes) -> bool:
        """Add the block or find that it is there already; False for a gap or another content."""
        held = len(assembly.body)
        if block.offset == held:
            assembly.body += payload
            self.held_bytes += len(payload)
            return True
        end = block.offset + len(payload)
        return block.more and end <= held and assembly.body[block.offset : end] == payload

    def _begin(self, key: _TransferKey) -> None:
        peer, resource = key
        resources = self._of_peer.setdefault(peer, [])
        if len(resources) >= self._limits.assemblies_per_peer:
            self.evicted += 1
            self._drop((peer, resources[0]))
            # The drop may have taken the emptied list out of the table.
            resources = self._of_peer.setdefault(peer, [])
        resources.append(resource)
        self._transfers[key] = _Assembly()

    def _evict(self) -> None:
        """Keep to the byte budget: the transfer that has waited longest goes.

        Refusing new ones instead would let a stranger who fills the budget lock all others out for a
        lifetime; this way a device that keeps sending keeps its place.
        """
        while self.held_bytes > self._limits.body_budget_bytes:
            self.evicted += 1
            self._drop(next(iter(self._transfers)))

    def _drop(self, key: _TransferKey) -> None:
        assembly = self._transfers.pop(key, None)
        if assembly is None:
            return
        self.held_bytes -= len(assembly.body)
        peer, resource = key
        resources = self._of_peer[peer]
        resources.remove(resource)
        if not resources:
            del self._of_peer[peer]
