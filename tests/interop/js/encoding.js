// The CBOR of docs/protocol.md ("Encoding"): unsigned integers, byte strings, text strings and arrays, in one form only.

import { decode, encode } from 'cborg'

const DEPTH_MAX = 5

export const pack = encode

// The value of these bytes; an error if they are not the one form that docs/protocol.md knows.
export function unpack (bytes, depthMax = DEPTH_MAX) {
  const value = decode(bytes, { useMaps: true })
  check(value, depthMax)
  if (!same(encode(value), bytes)) {
    throw new Error('not in the one form of this encoding')
  }
  return value
}

export function same (one, other) {
  return Buffer.compare(one, other) === 0
}

export const hex = bytes => Buffer.from(bytes).toString('hex')
export const unhex = text => Uint8Array.from(Buffer.from(text, 'hex'))
export const join = (...parts) => Uint8Array.from(Buffer.concat(parts))

function check (value, depthLeft) {
  if (Array.isArray(value)) {
    if (depthLeft === 0) {
      throw new Error('arrays nest too deep')
    }
    value.forEach(item => check(item, depthLeft - 1))
    return
  }
  const known = value instanceof Uint8Array || typeof value === 'string' || typeof value === 'bigint' || Number.isInteger(value)
  if (!known || value < 0) {
    throw new Error(`${typeof value} is not in the subset`)
  }
}

// Values from JSON, where a byte string is {hex: '...'} and an integer beyond 2^53 - 1 {uint: '...'}.
export function fromJson (value) {
  if (Array.isArray(value)) {
    return value.map(fromJson)
  }
  if (typeof value === 'object') {
    return value.hex === undefined ? BigInt(value.uint) : unhex(value.hex)
  }
  return value
}

export const toJson = value => JSON.parse(JSON.stringify(value, (_, each) => each instanceof Uint8Array ? hex(each) : each))
