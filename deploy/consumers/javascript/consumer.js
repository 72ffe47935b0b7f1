// Keeps one watchlist's board up to date from the stream and prints each reading:
//
//   npm install && node consumer.js us-beauty
import { AckPolicy, DeliverPolicy, jetstream, JetStreamApiCodes, JetStreamApiError, jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";

const url = process.env.NATS_URL ?? "nats://127.0.0.1:4222";
const stream = process.env.RANKWATCH_STREAM ?? "RANKWATCH";
const prefix = process.env.RANKWATCH_SUBJECT_PREFIX ?? "rankwatch";
const watchlist = process.argv[2];
if (process.argv.length !== 3) {
  console.error("usage: node consumer.js WATCHLIST, with NATS_URL for another server than nats://127.0.0.1:4222");
  process.exit(2);
}
const durable = `example-javascript-${watchlist}`;

const members = new Map(); // uid → {rank, index}
let held = null; // {lineage, revision} of the last board taken
const open = new Map(); // reading → its events by n, until a board names it

// Ids begin with us-beauty/42, or us-beauty/42~2 after history had to be broken.
function mark(id) {
  const [revision, lineage = 1] = id.split("/")[1].split("~").map(Number);
  return { revision, lineage };
}

const known = (m) => held && (m.lineage < held.lineage || (m.lineage === held.lineage && m.revision <= held.revision));

function keep(e) {
  if (known(mark(e.id))) return;
  if (!open.has(e.data.reading)) open.set(e.data.reading, new Map());
  open.get(e.data.reading).set(e.data.n, e);
}

function replace(board) {
  members.clear();
  for (const r of board.board) if (r.member) members.set(r.uid, { rank: r.rank, index: r.potential_index });
  for (const a of board.absent) members.set(a.uid, { rank: a.rank, index: a.potential_index });
}

function apply(kind, d) {
  const uid = d.creator.uid;
  if (kind === "dropped") members.delete(uid);
  // An index change leaves the rank as it was last reported.
  else if (kind === "index") members.set(uid, { ...members.get(uid), index: d.after.potential_index });
  else members.set(uid, { rank: d.after.rank, index: d.after.potential_index });
}

// A board commits its reading: apply the events that it names, forget the rest.
function close(e) {
  const now = mark(e.id);
  if (known(now)) return;
  const b = e.data;
  const events = [...(open.get(b.reading)?.values() ?? [])].sort((x, y) => x.data.n - y.data.n);
  open.clear();
  const count = Object.values(b.counts).reduce((x, y) => x + y, 0);
  const broken = b.outcome === "baseline" && now.lineage > (held?.lineage ?? 0) && (b.previous_revision ?? 0) < (held?.revision ?? 0);
  const gap = held && (events.length !== count || ((b.previous_revision ?? 0) !== held.revision && !broken));
  if (gap) console.log(`  missed something between revisions ${held.revision} and ${b.revision}`);
  if (!held || gap || b.outcome === "baseline") replace(b);
  else for (const x of events) apply(x.type.slice("rankwatch.".length), x.data);
  held = now;
  show(b, events);
}

function show(b, events) {
  console.log(`${b.watchlist} revision ${b.revision} (${b.outcome}): ${events.length} events, ${members.size} members`);
  for (const { type, data: d } of events) {
    const kind = type.slice("rankwatch.".length);
    console.log(`  ${kind} ${JSON.stringify(d.creator.uid)} ${d.before?.rank ?? "–"} → ${d.after?.rank ?? "–"}`);
  }
  const top = [...members].sort(([u, a], [v, b]) => a.rank - b.rank || (u < v ? -1 : 1)).slice(0, 3);
  for (const [uid, p] of top) console.log(`  ${p.rank}. ${JSON.stringify(uid)}, index ${p.index}`);
}

const nc = await connect({ servers: url, maxReconnectAttempts: -1 });
const manager = await jetstreamManager(nc);

// Where to begin: the last board, and the durable consumer of what comes after it.
const last = await manager.direct.getMessage(stream, { last_by_subj: `${prefix}.*.${watchlist}.board` });
if (!last) throw new Error(`no board of ${watchlist} in stream ${stream}`);
let info;
try {
  info = await manager.consumers.info(stream, durable);
} catch (err) {
  if (!(err instanceof JetStreamApiError) || err.code !== JetStreamApiCodes.ConsumerNotFound) throw err;
  info = await manager.consumers.add(stream, {
    durable_name: durable,
    filter_subject: `${prefix}.*.${watchlist}.>`, // never without: the stream holds the worker's own messages, too
    deliver_policy: DeliverPolicy.StartSequence,
    opt_start_seq: last.seq + 1,
    ack_policy: AckPolicy.Explicit,
    max_ack_pending: 4096, // the longest reading has 2001 messages, acknowledged at the end
  });
}
// An earlier run may not have come so far: then the first board to come is where it begins.
if (last.seq <= info.ack_floor.stream_seq) close(last.json());

const consumer = await jetstream(nc).consumers.get(stream, durable);
const messages = await consumer.consume();
process.once("SIGINT", () => messages.stop());
let waiting = []; // unacknowledged until their board came
for await (const m of messages) {
  const e = m.json();
  const kind = e.type.slice("rankwatch.".length);
  waiting.push(m);
  if (["entered", "moved", "dropped", "index"].includes(kind)) {
    keep(e);
    continue; // wait for the board
  }
  if (kind === "board") close(e);
  else if (kind === "status") console.log(`${e.data.watchlist} is ${e.data.status}: ${e.data.reason}`);
  // A kind of a later version is fine to skip.
  for (const w of waiting) w.ack();
  waiting = [];
}
await nc.drain();
