// `/demesh/sync/1` (docs/protocol.md, "Sync"), both sides.

import { byteStream } from '@libp2p/utils'
import { hex, pack, same, unpack } from './encoding.js'
import { open, require } from './entry.js'
import { blake } from './identity.js'

export const SYNC = '/demesh/sync/1'
const FRAME_BYTES_MAX = 589_824
const PAGE_ENTRIES = 1000
const VERSION = 1

// What is said beyond the first version of the protocol: versions that are spoken too, and fields at the end of each message.
export const PLAIN = { versions: [], appended: [] }

const HELLO = 1
const ROWS = 2
const ASK = 3
const PAGE = 4
const REFUSAL = 5
const ASK_KEPT = 6

export class Frames {
  constructor (stream) {
    this.stream = stream
    this.bytes = byteStream(stream)
  }

  async send (message) {
    await this.sendBytes(pack(message))
  }

  async sendBytes (bytes, length = bytes.length) {
    const head = Buffer.alloc(4)
    head.writeUInt32BE(length)
    await this.bytes.write(Uint8Array.from(Buffer.concat([head, bytes])), { signal: AbortSignal.timeout(5000) })
  }

  // The next message, its number first; undefined once the other side has closed.
  async next () {
    const signal = AbortSignal.timeout(10_000)
    let head
    try {
      head = await this.bytes.read({ bytes: 4, signal })
    } catch (error) {
      if (error.name === 'UnexpectedEOFError' || error.name === 'StreamClosedError') {
        return undefined
      }
      throw error
    }
    const length = Buffer.from(head.subarray()).readUInt32BE()
    require(length <= FRAME_BYTES_MAX, 'a message has at most 589,824 bytes')
    return unpack((await this.bytes.read({ bytes: length, signal })).subarray())
  }
}

// What a node holds, as others compare it: [log, first whole entry, head, the head's hash], by id.
export function rowsOf (logs) {
  return [...logs].sort((one, other) => Buffer.compare(one.id, other.id))
    .map(log => [log.id, log.entries[0].seq, log.head.seq, log.head.hash.subarray(0, 8)])
}

const NOTHING = new Uint8Array(0)

export const digestOf = rows => blake(pack(rows.map(([log, , seq, hash]) => [log, seq, hash])), 32, 'demesh/vector/1')

// A session in which this node pulls. `rows` is undefined when both hold the same.
export class Pull {
  constructor (stream, dialect = PLAIN) {
    this.frames = new Frames(stream)
    this.dialect = dialect
  }

  // `writes` is the id of the log that this node is writing, or nothing.
  async begin (meshId, digest, writes = NOTHING) {
    await this.#say([HELLO, [VERSION, ...this.dialect.versions], meshId, digest, writes])
    const [, version, theirMesh, theirDigest] = await this.#answer(HELLO)
    require(version === VERSION && same(theirMesh, meshId), 'the other side speaks of the same mesh')
    this.rows = same(theirDigest, digest) ? undefined : (await this.#answer(ROWS))[1]
    if (this.rows !== undefined) {
      require(same(digestOf(this.rows), theirDigest), 'the digest is of these rows')
    }
    return this.rows
  }

  async page (log, first, last) {
    await this.#say([ASK, log, first, last])
    return await this.#page(log)
  }

  // What is kept of a log from before `below`, the newest first.
  async kept (log, below) {
    const kept = []
    for (;;) {
      await this.#say([ASK_KEPT, log, kept.length === 0 ? below : open(kept.at(-1)).seq])
      const page = await this.#page(log)
      if (page.length === 0) {
        return kept
      }
      kept.push(...page)
    }
  }

  async end () {
    await this.frames.stream.close()
  }

  async #say (message) {
    await this.frames.send([...message, ...this.dialect.appended])
  }

  async #page (log) {
    const [, ofLog, envelopes] = await this.#answer(PAGE)
    require(same(ofLog, log), 'a page is of the log that was asked for')
    return envelopes
  }

  async #answer (number) {
    const message = await this.frames.next()
    require(message !== undefined, 'the other side answers')
    require(message[0] !== REFUSAL, `refused with ${message[1]}: ${message[2]}`)
    require(message[0] === number, `message ${number} is next, not ${message[0]}`)
    return message
  }
}

// A session in which the other side pulls from `logs` (by id in hex). `writes` is the id of the log that this node is writing.
export async function serve (stream, meshId, logs, writes = NOTHING, dialect = PLAIN) {
  const frames = new Frames(stream)
  const say = async message => await frames.send([...message, ...dialect.appended])
  const [, versions, theirMesh, theirDigest] = await frames.next()
  if (!versions.includes(VERSION) || !same(theirMesh, meshId)) {
    await say([REFUSAL, same(theirMesh, meshId) ? 1 : 2, 'We have nothing to tell each other.'])
    return
  }
  const rows = rowsOf(logs.values())
  await say([HELLO, VERSION, meshId, digestOf(rows), writes])
  if (!same(digestOf(rows), theirDigest)) {
    await say([ROWS, rows.map(row => [...row, ...dialect.appended])])
  }
  for (let asked = await frames.next(); asked !== undefined; asked = await frames.next()) {
    const [number, id, first, last] = asked
    const log = logs.get(hex(id))
    const page = number === ASK_KEPT
      ? log.kept.filter(entry => entry.seq < first).reverse()
      : log.entries.filter(entry => entry.seq >= first && entry.seq <= last).slice(0, PAGE_ENTRIES)
    await say([PAGE, id, page.map(entry => [entry.body, entry.signature, ...dialect.appended])])
  }
  await stream.close()
}
