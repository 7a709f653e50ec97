// A member of a mesh: it joins, reads the topic, pulls whole logs, writes a log of its own and lets others pull.

import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys'
import { gossipsub } from '@libp2p/gossipsub'
import { identify } from '@libp2p/identify'
import { ping } from '@libp2p/ping'
import { preSharedKey } from '@libp2p/pnet'
import { tcp } from '@libp2p/tcp'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { randomBytes } from 'node:crypto'
import { uptime } from 'node:os'
import { hex, pack, unpack } from './encoding.js'
import { KIND, NO_PREVIOUS, open, require, seal } from './entry.js'
import { logIdOf, meshIdOf, swarmKeyOf, topicOf } from './identity.js'
import { Log } from './log.js'
import { helloOf } from './payloads.js'
import { PLAIN, Pull, SYNC, digestOf, rowsOf, serve } from './sync.js'

const MESSAGE_BYTES_MAX = 65_536

export class Member {
  logs = new Map() // by id in hex
  heard = [] // what came on the topic: entries, and sentences about what was wrong
  served = 0
  boot = randomBytes(8)
  dialect = PLAIN
  serve = stream => serve(stream, this.meshId, this.logs, this.own?.id, this.dialect)

  static async start ({ swarmKey, meshId, name }) {
    const member = new Member()
    member.name = name
    member.privateKey = await generateKeyPairFromSeed('Ed25519', randomBytes(32))
    member.publicKey = member.privateKey.publicKey.raw
    member.meshId = meshId ?? meshIdOf(swarmKeyOf(swarmKey))
    member.topic = topicOf(member.meshId)
    member.libp2p = await createLibp2p({
      privateKey: member.privateKey,
      addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
      transports: [tcp()],
      connectionProtector: preSharedKey({ psk: new TextEncoder().encode(swarmKey) }),
      connectionEncrypters: [noise()],
      streamMuxers: [yamux()],
      connectionManager: { reconnectRetries: 0 },
      services: {
        identify: identify(),
        ping: ping(),
        pubsub: gossipsub({ globalSignaturePolicy: 'StrictSign', allowPublishToZeroTopicPeers: true })
      }
    })
    member.pubsub.addEventListener('message', event => member.hear(event.detail))
    await member.libp2p.handle(SYNC, async (stream) => {
      member.served += 1
      await member.serve(stream).catch(error => stream.abort(error))
    }, { maxInboundStreams: 64 })
    member.pubsub.subscribe(member.topic)
    return member
  }

  get pubsub () { return this.libp2p.services.pubsub }
  get address () { return this.libp2p.getMultiaddrs()[0] }

  async dial (address) {
    return await this.libp2p.dial(multiaddr(address), { signal: AbortSignal.timeout(10_000) })
  }

  // Whoever holds a log's beginning verifies what is heard; entries of logs not yet pulled are opened only.
  async hear (message) {
    try {
      require(message.topic === this.topic && message.type === 'signed', 'messages are signed and on the topic')
      require(message.data.length <= MESSAGE_BYTES_MAX, 'a message has at most 65,536 bytes')
      const [number, envelopes] = unpack(message.data)
      require(number === 1, 'the message is of a known kind')
      this.heard.push(...envelopes.map(open))
    } catch (error) {
      this.heard.push(error.message)
    }
  }

  // All that the other side holds, log by log and page by page, verified; returns the rows it offered.
  async pull (address) {
    const stream = await this.libp2p.dialProtocol(multiaddr(address), SYNC, { signal: AbortSignal.timeout(10_000) })
    const session = new Pull(stream, this.dialect)
    const rows = await session.begin(this.meshId, digestOf(rowsOf(this.logs.values())), this.own?.id) ?? []
    for (const [id, prunedTo, headSeq] of rows) {
      const log = this.logs.get(hex(id)) ?? new Log(id, this.meshId)
      if (prunedTo > log.nextSeq) {
        const following = await session.page(id, prunedTo, headSeq)
        await log.adopt(await session.kept(id, prunedTo), following)
      }
      while (log.nextSeq <= headSeq) {
        const taken = await log.take(await session.page(id, log.nextSeq, headSeq))
        require(taken.length > 0, 'a page leads on')
      }
      this.logs.set(hex(id), log)
    }
    await session.end()
    return rows
  }

  // Begins a log; kinds, protocols and fields are those that it knows beyond docs/protocol.md.
  async begin ({ tags = [], version = 'interop', kinds = [], protocols = [], appended = [] } = {}) {
    this.nonce = randomBytes(8)
    this.tags = tags
    this.version = version
    this.kinds = [...Object.values(KIND), ...kinds]
    this.protocols = [SYNC, ...protocols]
    this.appended = appended
    this.addresses = [this.address.decapsulate('/p2p').toString()]
    this.own = new Log(logIdOf(this.publicKey, this.nonce), this.meshId)
    this.logs.set(hex(this.own.id), this.own)
    return await this.write(KIND.hello, helloOf(this))
  }

  // The fields of the entry that would come next in the own log.
  nextFields (kind, payload) {
    return {
      log: this.own.id,
      seq: this.own.nextSeq,
      prev: this.own.head?.hash ?? NO_PREVIOUS,
      wallMs: Date.now(),
      upMs: Math.floor(uptime() * 1000),
      boot: this.boot,
      nextMs: 25_000,
      kind,
      payload,
      appended: this.dialect.appended
    }
  }

  // Writes an entry and tells it to all, unless it is to be found by sync only.
  async write (kind, payload, silently = false) {
    const envelope = await seal(this.nextFields(kind, payload), this.privateKey, this.meshId)
    const [entry] = await this.own.take([envelope])
    if (!silently) {
      await this.publishBytes(pack([1, [envelope], ...this.dialect.appended]))
    }
    return entry
  }

  // Tells the newest entry of the own log (again): whoever lacks some in front of it comes and pulls.
  async repeat () {
    const { body, signature } = this.own.head
    return await this.publishBytes(pack([1, [[body, signature]]]))
  }

  async publishBytes (bytes) {
    return (await this.pubsub.publish(this.topic, bytes)).recipients.length
  }
}
