"""What of a run of entries follows a log's head without a break, and what of that its owner's signatures vouch for. Pure.

A signature may be missing only on results and rollups in front of a signed entry of the same run, which vouches for them through
the links; or, at the end of a run, in front of a fork that is proven.
"""

from demesh.log.entry import KINDS_UNSIGNED, Entry, verify
from demesh.log.evidence import Fork
from demesh.log.head import Head
from demesh.log.taken import Refusal, Taken


def linked_to(head: Head | None, new: list[Entry], taken: Taken) -> list[Entry]:
    """The front of `new` that continues `head` without a break."""
    seq, link = (head.seq, head.hash) if head else (new[0].seq - 1, new[0].prev) if new else (0, b"")
    for index, entry in enumerate(new):
        seq += 1
        if entry.seq != seq or entry.prev != link:
            # A gap inside an offer is the sender's fault; a wrong link under a valid signature would be a fork.
            reason = "not_contiguous" if entry.seq != seq else "wrong_link"
            taken.refusals.append(Refusal(entry.log, entry.seq, reason))
            return new[:index]
        link = entry.hash
    return new


def vouched_for(
    mesh_id: bytes, public_key: bytes, linked: list[Entry], taken: Taken, fork: Fork | None = None
) -> list[Entry]:
    """The front of `linked` that ends at the last entry before which no signature is wrong or wrongly missing."""
    vouched = 0
    for index, entry in enumerate(linked):
        if not entry.signature and entry.kind in KINDS_UNSIGNED:
            continue
        if not verify(public_key, mesh_id, entry):
            reason = "bad_signature" if entry.signature else "no_signature"
            taken.refusals.append(Refusal(entry.log, entry.seq, reason))
            return linked[:vouched]
        vouched = index + 1
    if fork and linked and linked[-1].hash == fork.prev:
        vouched = len(linked)
    if vouched < len(linked):
        taken.refusals.append(Refusal(linked[vouched].log, linked[vouched].seq, "no_signature"))
    return linked[:vouched]
