"""Keeps one watchlist's board up to date from the stream and prints each reading:

    pip install -r requirements.txt
    python3 consumer.py us-beauty
"""

import asyncio
import json
import os
import sys

import nats
from nats.errors import TimeoutError as NothingCame
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

URL = os.environ.get("NATS_URL", "nats://127.0.0.1:4222")
STREAM = os.environ.get("RANKWATCH_STREAM", "RANKWATCH")
PREFIX = os.environ.get("RANKWATCH_SUBJECT_PREFIX", "rankwatch")
CHANGES = ("entered", "moved", "dropped", "index")


def mark(event_id):
    """Lineage and revision: ids begin with us-beauty/42, or us-beauty/42~2 after history had to be broken."""
    revision, _, lineage = event_id.split("/")[1].partition("~")
    return int(lineage or 1), int(revision)


def kind_of(event):
    return event["type"].removeprefix("rankwatch.")


class Members:
    def __init__(self):
        self.held = {}  # uid -> (rank, index)
        self.last = None  # mark of the last board taken
        self.open = {}  # reading -> its events by n, until a board names it

    def keep(self, event):
        if self.last is None or mark(event["id"]) > self.last:
            data = event["data"]
            self.open.setdefault(data["reading"], {})[data["n"]] = event

    def replace(self, board):
        self.held = {r["uid"]: (r["rank"], r["potential_index"]) for r in board["board"] if r["member"]}
        self.held |= {a["uid"]: (a["rank"], a["potential_index"]) for a in board["absent"]}

    def apply(self, event):
        kind, uid, after = kind_of(event), event["data"]["creator"]["uid"], event["data"]["after"]
        if kind == "dropped":
            self.held.pop(uid, None)
        elif kind == "index":  # leaves the rank as it was last reported
            self.held[uid] = (self.held[uid][0], after["potential_index"])
        else:
            self.held[uid] = (after["rank"], after["potential_index"])

    def close(self, event):
        """A board commits its reading: apply the events that it names, forget the rest."""
        now, board = mark(event["id"]), event["data"]
        if self.last is not None and now <= self.last:
            return
        events = [e for _, e in sorted(self.open.get(board["reading"], {}).items())]
        self.open = {}
        gap = False
        if self.last is not None:
            previous = board["previous_revision"] or 0
            broken = board["outcome"] == "baseline" and now[0] > self.last[0] and previous < self.last[1]
            gap = len(events) != sum(board["counts"].values()) or previous != self.last[1] and not broken
        if gap:
            print(f"  missed something between revisions {self.last[1]} and {now[1]}")
        if self.last is None or gap or board["outcome"] == "baseline":
            self.replace(board)
        else:
            for e in events:
                self.apply(e)
        self.last = now
        self.show(board, events)

    def show(self, board, events):
        print(f"{board['watchlist']} revision {board['revision']} ({board['outcome']}): {len(events)} events, {len(self.held)} members")
        for e in events:
            uid, before, after = json.dumps(e["data"]["creator"]["uid"], ensure_ascii=False), e["data"]["before"], e["data"]["after"]
            print(f"  {kind_of(e)} {uid} {before['rank'] if before else '–'} → {after['rank'] if after else '–'}")
        for uid, (rank, index) in sorted(self.held.items(), key=lambda m: (m[1][0], m[0]))[:3]:
            print(f"  {rank}. {json.dumps(uid, ensure_ascii=False)}, index {index}", flush=True)


async def main(watchlist):
    durable = f"example-python-{watchlist}"
    nc = await nats.connect(URL, max_reconnect_attempts=-1)
    js = nc.jetstream()

    # Where to begin: the last board, and the durable consumer of what comes after it.
    last = await js.get_last_msg(STREAM, f"{PREFIX}.*.{watchlist}.board")
    try:
        info = await js.consumer_info(STREAM, durable)
    except NotFoundError:
        info = await js.add_consumer(
            STREAM,
            ConsumerConfig(
                durable_name=durable,
                # Never without a filter: the stream holds the worker's own messages, too.
                filter_subject=f"{PREFIX}.*.{watchlist}.>",
                deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=last.seq + 1,
                ack_policy=AckPolicy.EXPLICIT,
                # The longest reading has 2001 messages, acknowledged at the end.
                max_ack_pending=4096,
            ),
        )
    members = Members()
    # An earlier run may not have come so far: then the first board to come is where it begins.
    if last.seq <= info.ack_floor.stream_seq:
        members.close(json.loads(last.data))

    subscription = await js.pull_subscribe_bind(durable=durable, stream=STREAM)
    waiting = []  # unacknowledged until their board came
    while True:
        try:
            messages = await subscription.fetch(100, timeout=5)
        except NothingCame:
            continue
        for message in messages:
            event = json.loads(message.data)
            kind = kind_of(event)
            waiting.append(message)
            if kind in CHANGES:
                members.keep(event)
                continue  # wait for the board
            if kind == "board":
                members.close(event)
            elif kind == "status":
                print(f"{event['data']['watchlist']} is {event['data']['status']}: {event['data']['reason']}", flush=True)
            # A kind of a later version is fine to skip.
            for w in waiting:
                await w.ack()
            waiting = []


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: consumer.py WATCHLIST, with NATS_URL for another server than nats://127.0.0.1:4222")
    try:
        asyncio.run(main(sys.argv[1]))
    except KeyboardInterrupt:
        pass
