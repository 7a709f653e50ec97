// What an entry says (docs/protocol.md, "Kinds"): as much of it as this node writes or reads.

import { pack } from './encoding.js'
import { isBytes, require } from './entry.js'
import { blake } from './identity.js'

// The fields of a row of a plan behind the options, where nothing is to be said in them.
const LEAVES_OPEN = [0, 0, 0, [], new Uint8Array(0), 0, [], '']

export const OUTCOMES = ['pass', 'fail', 'mismatch', 'timeout', 'error']

export function helloOf (me) {
  return [
    me.publicKey, me.nonce, me.name, me.version, [1], me.kinds, me.protocols, me.tags, 0, me.addresses, [], [], ...me.appended
  ]
}

export function readHello (payload) {
  const [publicKey, nonce, name, version, formats, kinds, protocols, tags, presence, addresses] = payload
  require(isBytes(publicKey, 32) && isBytes(nonce, 8), 'a hello has a key and a nonce')
  return { publicKey, nonce, name, version, formats, kinds, protocols, tags, presence, addresses }
}

// One row of a plan; `keys` are the names and JSON values that decide a vote, besides those that have a field of their own.
export function planRow (check, meshId) {
  const keys = Object.keys(check.keys).sort().flatMap(name => [name, JSON.stringify(check.keys[name])])
  const decisive = [
    check.type, check.target, check.intervalMs, check.timeoutMs, check.retryIntervalMs, check.failAfter, check.recoverAfter, keys
  ]
  return [
    check.name, check.type, check.target, blake(pack(decisive), 16, 'demesh/check/1', meshId), 1,
    check.intervalMs, check.timeoutMs, check.retryIntervalMs, check.failAfter, check.recoverAfter,
    0, 'critical', ['*'], [], check.options, ...check.appended ? [...LEAVES_OPEN, ...check.appended] : []
  ]
}

export function readPlan (payload) {
  const [part, parts, rows] = payload
  return {
    part,
    parts,
    rows: rows.map(row => ({
      name: row[0], type: row[1], target: row[2], definition: row[3], runs: row[4] === 1, intervalMs: row[5], options: row[14]
    }))
  }
}

// The results of an entry, each with the author's up time when it was known.
export function readResults (payload, upMs) {
  const [planSeq, times, checks, outcomes, latencies, details] = payload
  require(isBytes(outcomes), 'outcomes are a byte string')
  require([checks, outcomes, latencies].every(column => column.length === times.length), 'columns are of equal length')
  require(times.length <= 256, 'there are at most 256 rows')
  let knownMs = upMs
  return Array.from(times, (time, row) => {
    knownMs = row === 0 ? upMs - time : knownMs + time
    return {
      planSeq,
      check: checks[row],
      outcome: OUTCOMES[outcomes[row]] ?? 'error', // one of a later version blames nobody
      knownMs,
      latencyMs: latencies[row] / 10,
      details: details.filter(([of]) => of === row).map(([, field, value]) => [field, value])
    }
  })
}
