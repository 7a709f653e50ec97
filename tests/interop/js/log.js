// A log as its reader keeps it: it grows by entries that fit behind its head and for which somebody with its key has signed.

import { same } from './encoding.js'
import { KIND, NO_PREVIOUS, isSigned, open, require } from './entry.js'
import { logIdOf } from './identity.js'
import { readHello } from './payloads.js'

export class Log {
  kept = [] // of a log whose beginning is forgotten: signed entries from before the first whole one
  entries = []
  signed = 0 // how many of `entries` came with a signature

  constructor (id, meshId) {
    this.id = id
    this.meshId = meshId
  }

  get head () { return this.entries.at(-1) }
  get nextSeq () { return this.entries.length === 0 ? 0 : this.head.seq + 1 }
  get all () { return [...this.kept, ...this.entries] }
  get hello () { return this.all.findLast(entry => entry.kind === KIND.hello) }
  get publicKey () { return readHello(this.hello.payload).publicKey }

  at (seq) {
    return this.entries[seq - (this.entries[0]?.seq ?? 0)]
  }

  // All of these or none: they follow each other and the head, and the last of them is signed. Those that are held are skipped.
  async take (envelopes) {
    const given = envelopes.map(open)
    for (const entry of given.filter(each => each.seq < this.nextSeq)) {
      require(same(this.at(entry.seq)?.hash ?? entry.hash, entry.hash), 'a log has one history')
    }
    const fresh = given.filter(each => each.seq >= this.nextSeq)
    if (fresh.length > 0) {
      await this.#append(fresh, this.entries.length > 0 ? this.publicKey : this.#ownerIn(fresh[0]), this.head)
    }
    return fresh
  }

  // A log of which nobody has the beginning: what was kept of it, the newest first, each signed, and what follows, of which the
  // first entry names the head behind which the log is taken up.
  async adopt (keptEnvelopes, followingEnvelopes) {
    const kept = keptEnvelopes.map(open).reverse()
    const following = followingEnvelopes.map(open)
    const hello = kept.find(entry => entry.kind === KIND.hello)
    require(hello !== undefined, 'a hello is kept of a log that is not known')
    const publicKey = this.#ownerIn(hello)
    for (const [index, entry] of kept.entries()) {
      require(same(entry.log, this.id) && entry.seq < (kept[index + 1] ?? following[0]).seq, 'what is kept is of this log and in order')
      require(await isSigned(entry, publicKey, this.meshId), 'each kept entry is signed')
    }
    await this.#append(following, publicKey, { seq: following[0].seq - 1, hash: following[0].prev })
    this.kept = kept
  }

  async #append (fresh, publicKey, head) {
    let before = head
    let signed = 0
    for (const entry of fresh) {
      require(same(entry.log, this.id), 'an entry is of the log it comes in')
      require(entry.seq === (before === undefined ? 0 : before.seq + 1), 'there is no gap')
      require(same(entry.prev, before === undefined ? NO_PREVIOUS : before.hash), 'each entry names the hash of the one before it')
      signed += await isSigned(entry, publicKey, this.meshId)
      before = entry
    }
    require(before.signature.length > 0, 'the last one is signed')
    this.entries.push(...fresh)
    this.signed += signed
  }

  #ownerIn (entry) {
    require(entry.kind === KIND.hello, 'a log begins with a hello')
    const hello = readHello(entry.payload)
    require(same(logIdOf(hello.publicKey, hello.nonce), this.id), 'key and nonce make the id of the log')
    return hello.publicKey
  }
}
