// This node as a process that does what it is told: a request is a line of JSON on standard input, `{id, what, ...}`, its answer a
// line on standard output, `{id, done}` or `{id, failed}`. It ends with its input.

import { multiaddr } from '@multiformats/multiaddr'
import { createInterface } from 'node:readline'
import { fromJson, hex, toJson, unhex } from './encoding.js'
import { KIND, NO_PREVIOUS, isSigned } from './entry.js'
import { lie, messages, pulls, served } from './hostile.js'
import { Member } from './member.js'
import { OUTCOMES, planRow, readHello, readPlan, readResults } from './payloads.js'
import { Frames, SYNC, serve } from './sync.js'

let member

const requests = {
  async start ({ swarmKey, meshId, name }) {
    member = await Member.start({ swarmKey, name, meshId: meshId === undefined ? undefined : unhex(meshId) })
    return { peer: member.libp2p.peerId.toString(), address: member.address.toString(), mesh: hex(member.meshId) }
  },
  dial: async ({ address }) => (await member.dial(address)).remotePeer.toString(),
  end: async () => await member.libp2p.stop(),
  subscribers: async () => member.pubsub.getSubscribers(member.topic).length,
  heard: async () => Promise.all(member.heard.map(async each => typeof each === 'string' ? { wrong: each } : await told(each))),
  pull: async ({ address }) => (await member.pull(address)).map(([id, prunedTo, seq]) => ({ log: hex(id), prunedTo, seq })),
  logs: async () => [...member.logs.values()].map(log => ({
    log: hex(log.id),
    seq: log.head.seq,
    hash: hex(log.head.hash),
    kept: log.kept.map(entry => entry.kind),
    kinds: log.entries.map(entry => entry.kind),
    signed: log.signed,
    hello: toJson(readHello(log.hello.payload)),
    plans: log.all.filter(entry => entry.kind === KIND.plan).map(entry => ({ seq: entry.seq, ...toJson(readPlan(entry.payload)) })),
    results: log.entries.filter(entry => entry.kind === KIND.results)
      .flatMap(entry => readResults(entry.payload, entry.upMs).map(each => ({ seq: entry.seq, ...each })))
  })),
  begin: async given => told(await member.begin({ ...given, appended: fromJson(given.appended ?? []) })),
  speak: async ({ versions, appended }) => { member.dialect = { versions, appended: fromJson(appended) } },
  offer: async ({ protocol }) => await member.libp2p.handle(protocol, stream => stream.close()),
  plan: async ({ checks, appended = [] }) => {
    const rows = checks.map(check => planRow({ ...check, appended: fromJson(check.appended ?? []) }, member.meshId))
    return told(await member.write(KIND.plan, [0, 1, rows, [], ...fromJson(appended)]))
  },
  report: async ({ plan, outcomes, latencies, details = [], appended = [], silently }) => told(await member.write(KIND.results, [
    plan,
    outcomes.map(() => 0),
    outcomes.map((_, row) => row),
    Uint8Array.from(outcomes, name => OUTCOMES.includes(name) ? OUTCOMES.indexOf(name) : 200),
    latencies,
    fromJson(details),
    ...fromJson(appended)
  ], silently)),
  write: async ({ kind, payload, silently }) => told(await member.write(kind, fromJson(payload), silently)),
  definition: async ({ check }) => hex(planRow(check, member.meshId)[3]),
  sessions: async () => ({ served: member.served, told: member.told ?? 0 }),
  say: async ({ message }) => await member.publishBytes(await messages[message](member)),
  repeat: async () => await member.repeat(),
  messages: async () => Object.keys(messages),
  lie: async ({ page }) => lie(member, page),
  lies: async () => Object.keys(served),
  tellTruth: async () => { member.serve = stream => serve(stream, member.meshId, member.logs, member.own?.id) },
  ask: async ({ address, question }) => {
    const stream = await member.libp2p.dialProtocol(multiaddr(address), SYNC, { signal: AbortSignal.timeout(10_000) })
    const frames = new Frames(stream)
    await pulls[question](frames, member)
    const answers = []
    for (let answer = await frames.next(); answer !== undefined; answer = await frames.next()) {
      answers.push(answer.slice(0, 2).map(each => typeof each === 'number' ? each : null))
    }
    await stream.close()
    return answers
  },
  questions: async () => Object.keys(pulls)
}

// An entry for whoever asks; it is verified if its log is held that far, and its signature and link are right.
async function told (entry) {
  const log = member.logs.get(hex(entry.log))
  let verified = false
  if (log !== undefined) {
    const before = entry.seq === 0 ? { hash: NO_PREVIOUS } : log.at(entry.seq - 1)
    verified = await isSigned(entry, log.publicKey, member.meshId) && before !== undefined && hex(before.hash) === hex(entry.prev)
  }
  return { log: hex(entry.log), seq: entry.seq, kind: entry.kind, hash: hex(entry.hash), verified }
}

for await (const line of createInterface({ input: process.stdin })) {
  const { id, what, ...given } = JSON.parse(line)
  let answer
  try {
    answer = { id, done: await requests[what](given) ?? null }
  } catch (error) {
    answer = { id, failed: `${error.name}: ${error.message}` }
  }
  process.stdout.write(JSON.stringify(answer) + '\n')
}
await member?.libp2p.stop()
process.exit(0)
