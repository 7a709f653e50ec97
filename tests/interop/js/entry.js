// Entries (docs/protocol.md, "Entry"): sealed, opened, and verified.

import { publicKeyFromRaw } from '@libp2p/crypto/keys'
import { join, pack, unpack } from './encoding.js'
import { blake } from './identity.js'

export const FORMAT = 1
export const KIND = { hello: 1, plan: 2, results: 3, rollup: 4, checkpoint: 5, event: 6, bye: 7 }
export const NO_PREVIOUS = new Uint8Array(32)
const ENVELOPE_BYTES_MAX = 16384
const KINDS_WITHOUT_SIGNATURE = [KIND.results, KIND.rollup]
const LABEL = join(new TextEncoder().encode('demesh/entry/1'), Uint8Array.of(0))

export const hashOf = body => blake(body, 32, 'demesh/entry/1')
export const signedBytes = (meshId, body) => join(LABEL, meshId, body)
export const bodyOf = fields => pack([
  FORMAT, fields.log, fields.seq, fields.prev, fields.wallMs, fields.upMs, fields.boot, fields.nextMs, fields.kind, fields.payload,
  ...fields.appended ?? []
])

// An envelope of these fields, signed.
export async function seal (fields, privateKey, meshId) {
  const body = bodyOf(fields)
  return [body, await privateKey.sign(signedBytes(meshId, body))]
}

// The entry in an envelope, as far as it can be judged alone: its form and its bounds. Signature and link are not checked.
export function open (envelope) {
  require(Array.isArray(envelope) && envelope.length >= 2, 'an envelope is a body and a signature')
  const [body, signature] = envelope
  require(isBytes(body) && isBytes(signature, 64, 0), 'body and signature are byte strings')
  require(pack([body, signature]).length <= ENVELOPE_BYTES_MAX, 'the envelope is too long')
  const [format, log, seq, prev, wallMs, upMs, boot, nextMs, kind, payload] = unpack(body)
  require(format === FORMAT, 'the format is another')
  require(isBytes(log, 16) && isBytes(prev, 32) && isBytes(boot, 8), 'log, prev and boot have their sizes')
  require([seq, wallMs, upMs].every(number => Number.isSafeInteger(number)), 'numbers are at most 2^53 - 1')
  require(nextMs >= 1 && nextMs <= 604_800_000, 'next_ms is in its bounds')
  require(Number.isSafeInteger(kind) && kind <= 65_535, 'the kind is in its bounds')
  require(Array.isArray(payload), 'the payload is an array')
  require((seq === 0) === prev.every(byte => byte === 0), 'entry 0, and only it, has no entry before it')
  return { body, signature, log, seq, prev, wallMs, upMs, boot, nextMs, kind, payload, hash: hashOf(body) }
}

// Whether the signature is there and right; an error if it is there and wrong, or missing where it may not be.
export async function isSigned (entry, publicKey, meshId) {
  if (entry.signature.length === 0) {
    require(KINDS_WITHOUT_SIGNATURE.includes(entry.kind), 'an entry of this kind is signed')
    return false
  }
  require(await publicKeyFromRaw(publicKey).verify(signedBytes(meshId, entry.body), entry.signature), 'the signature is right')
  return true
}

export function isBytes (value, ...sizes) {
  return value instanceof Uint8Array && (sizes.length === 0 || sizes.includes(value.length))
}

export function require (holds, sentence) {
  if (!holds) {
    throw new Error(`not so: ${sentence}`)
  }
}
