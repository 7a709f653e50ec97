// Keys, ids and hashes (docs/protocol.md, "Keys and ids").

import { blake2b } from '@noble/hashes/blake2.js'
import { join } from './encoding.js'

const text = new TextEncoder()

// BLAKE2b with a personalisation, which is filled up with zero bytes to its 16.
export function blake (bytes, size, personalisation, key) {
  const personalization = new Uint8Array(16)
  personalization.set(text.encode(personalisation))
  return blake2b(bytes, { dkLen: size, personalization, key })
}

// The 32 bytes in the text of a swarm key file.
export function swarmKeyOf (fileText) {
  const [kind, base, digits, ...rest] = fileText.split('\n')
  if (kind !== '/key/swarm/psk/1.0.0/' || base !== '/base16/' || !/^[0-9a-f]{64}$/.test(digits) || rest.join('') !== '') {
    throw new Error('this is no swarm key')
  }
  return Uint8Array.from(Buffer.from(digits, 'hex'))
}

export const meshIdOf = swarmKey => blake(swarmKey, 16, 'demesh/mesh/1')
export const topicOf = meshId => `/demesh/1/${Buffer.from(meshId).toString('hex')}/entries`
export const logIdOf = (publicKey, nonce) => blake2b(join(text.encode('demesh/log/1'), publicKey, nonce), { dkLen: 16 })
