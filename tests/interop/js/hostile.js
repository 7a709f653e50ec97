// What a member does that means harm, or is broken: each of these is one way, by name.

import { encode } from 'cborg'
import { pack } from './encoding.js'
import { KIND, bodyOf, seal, signedBytes } from './entry.js'
import { Frames, digestOf, rowsOf } from './sync.js'

const EMPTY_HEARTBEAT = [0, [], [], new Uint8Array(), [], []]

// On the topic. Each sends one message.
export const messages = {
  noise: async () => Uint8Array.from({ length: 300 }, (_, index) => (index * 37) % 256),
  empty: async () => new Uint8Array(),
  'a map': async () => encode([1, [{ body: 1 }]]),
  'a float': async () => encode([1, [[1.5, 2]]]),
  'deep nesting': async () => Uint8Array.of(...Array(2000).fill(0x81), 0x00),
  'a length that lies': async () => Uint8Array.of(0x82, 0x01, 0x9b, 0, 0, 0, 255, 255, 255, 255, 255),
  'a long form of an integer': async () => Uint8Array.of(0x82, 0x18, 0x01, 0x80),
  'an unknown message': async () => pack([9, []]),
  'too many bytes': async () => pack([1, [[new Uint8Array(70_000), new Uint8Array(64)]]]),
  'an envelope too long': async member => pack([1, [await next(member, 99, [new Uint8Array(17_000)])]]),
  'a wrong signature': async (member) => {
    const [body, signature] = await next(member, KIND.results, EMPTY_HEARTBEAT)
    return pack([1, [[body, signature.map(byte => byte ^ 1)]]])
  },
  'a signature for another mesh': async (member) => {
    const fields = member.nextFields(KIND.results, EMPTY_HEARTBEAT)
    return pack([1, [await seal(fields, member.privateKey, new Uint8Array(16))]])
  },
  'no signature at the end': async (member) => {
    const [body] = await next(member, KIND.results, EMPTY_HEARTBEAT)
    return pack([1, [[body, new Uint8Array()]]])
  },
  'a wrong link': async (member) => {
    const fields = { ...member.nextFields(KIND.results, EMPTY_HEARTBEAT), prev: new Uint8Array(32).fill(7) }
    return pack([1, [await seal(fields, member.privateKey, member.meshId)]])
  },
  'a fork': async (member) => {
    const held = member.own.head
    const fields = { ...held, wallMs: held.wallMs + 1 }
    return pack([1, [await seal(fields, member.privateKey, member.meshId)]])
  },
  'an entry in the log of another': async (member) => {
    const other = [...member.logs.values()].find(log => log !== member.own)
    const fields = { ...member.nextFields(KIND.results, EMPTY_HEARTBEAT), log: other.id, seq: other.nextSeq, prev: other.head.hash }
    return pack([1, [await seal(fields, member.privateKey, member.meshId)]])
  }
}

// As the one who pulls: each says something and reads what comes back until the other side closes.
export const pulls = {
  noise: frames => frames.sendBytes(Uint8Array.of(0xff, 0x00, 0x13, 0x37)),
  'a message without end': frames => frames.sendBytes(Uint8Array.of(0x83), 0xffffffff),
  'another mesh': frames => frames.send([1, [1], new Uint8Array(16), new Uint8Array(32)]),
  'no known version': (frames, member) => frames.send([1, [77], member.meshId, new Uint8Array(32)]),
  'a page before the greeting': (frames, member) => frames.send([3, member.meshId, 0, 10]),
  'a log that was not offered': async (frames, member) => {
    await greet(frames, member)
    await frames.send([3, new Uint8Array(16), 0, 10])
  },
  'a range backwards': async (frames, member) => {
    await greet(frames, member)
    await frames.send([3, [...member.logs.values()].find(log => log !== member.own).id, 9, 3])
  }
}

// As the one who is pulled from: what is served in place of the truth. Each gives what follows the greeting.
export const served = {
  'a vector of a million rows': async (frames) => {
    const row = pack([new Uint8Array(16), 0, 1, new Uint8Array(8)])
    const length = 7 + 1_000_000 * row.length
    await frames.sendBytes(Uint8Array.of(0x82, 0x02, 0x9a, 0x00, 0x0f, 0x42, 0x40), length)
    for (let part = 0; part < 100; part++) { // the other side hangs up meanwhile
      await frames.bytes.write(Uint8Array.from(Buffer.concat(Array(10_000).fill(row))), { signal: AbortSignal.timeout(2000) })
    }
  },
  'a vector of more rows than logs may be': frames =>
    frames.send([2, Array.from({ length: 5000 }, (_, index) => [numbered(index), 0, 1, new Uint8Array(8)])]),
  'a vector that promises what no page has': async (frames, member) => {
    await frames.send([2, [[member.own.id, 0, 2 ** 52, new Uint8Array(8)]]])
    for (let asked = await frames.next(); asked !== undefined; asked = await frames.next()) {
      await frames.send([4, asked[1], []])
    }
  },
  'a page of another log': (frames, member) => page(frames, member, (envelopes, [, , first]) => [new Uint8Array(16), envelopes]),
  'a page of other entries': (frames, member) => page(frames, member, (envelopes, [, log]) => [log, envelopes.toReversed()]),
  'a page from before what was asked': (frames, member) => page(frames, member, (_, [, log]) => [log, all(member).slice(0, 1)]),
  'a page with a bit turned': (frames, member) => page(frames, member, ([[body, signature], ...rest], [, log]) =>
    [log, [[body.map((byte, at) => at === body.length - 15 ? byte ^ 1 : byte), signature], ...rest]]),
  'a page without signatures': (frames, member) =>
    page(frames, member, (envelopes, [, log]) => [log, envelopes.map(([body]) => [body, new Uint8Array()])]),
  'a page that is no page': (frames, member) => page(frames, member, (_, [, log]) => [log, 'entries']),
  'a message too long': (frames, member) =>
    page(frames, member, (_, [, log]) => [log, [[new Uint8Array(600_000), new Uint8Array(64)]]]),
  'noise in place of a page': async (frames, member) => {
    await frames.send([2, rowsOf([member.own])])
    await frames.next()
    await frames.sendBytes(Uint8Array.of(0x9f, 0xff, 0xf6))
  }
}

// Serves one lie, in every session from now on; `told` counts the sessions that got as far as hearing it.
export function lie (member, name) {
  member.told = 0
  member.serve = async (stream) => {
    const frames = new Frames(stream)
    await frames.next()
    await frames.send([1, 1, member.meshId, digestOf(rowsOf([member.own]))])
    try {
      await served[name](frames, member)
    } finally {
      member.told += 1
    }
    while (await frames.next() !== undefined);
    await stream.close()
  }
}

// The message that says of a log of this member's what `alter` makes of the page that was asked for.
async function page (frames, member, alter) {
  await frames.send([2, rowsOf([member.own])])
  const asked = await frames.next()
  await frames.send([4, ...alter(all(member).slice(asked[2], asked[3] + 1), asked)])
}

const all = member => member.own.entries.map(entry => [entry.body, entry.signature])

async function next (member, kind, payload) {
  const body = bodyOf(member.nextFields(kind, payload))
  return [body, await member.privateKey.sign(signedBytes(member.meshId, body))]
}

async function greet (frames, member) {
  await frames.send([1, [1], member.meshId, new Uint8Array(32)])
  await frames.next()
  await frames.next()
}

function numbered (index) {
  const id = new Uint8Array(16)
  new DataView(id.buffer).setUint32(0, index)
  return id
}
