package schemas_test

// A word is what a Go type does not tell of a field: meaning, unit and range,
// and of a slice whether it may be null.
type word struct {
	about string
	more  object
	null  bool
}

func w(about string, more ...pair) word { return word{about: about, more: more} }

func atLeast(n int) pair        { return pair{"minimum", n} }
func examples(list ...any) pair { return pair{"examples", list} }
func pattern(p string) pair     { return pair{"pattern", p} }
func instant() pair             { return pattern(`^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?Z$`) }
func format() pair              { return pair{"format", "date-time"} }
func digest() pair              { return pattern("^sha256:[0-9a-f]{64}$") }
func only(v any) pair           { return pair{"const", v} }
func oneOf(list ...any) pair    { return pair{"enum", list} }
func short() pair               { return pair{"minLength", 1} }
func long() pair                { return pair{"maxLength", 256} }

const (
	uidMeans   = "The source's id of the creator: text, at most 256 bytes."
	rankMeans  = "The place that ties share, from 1: 1 + the number of entries with a higher potential_index. With `ties: ordinal` the place in the list, each tie in its previous order."
	indexMeans = "The source's potential_index, in points: what the list is ranked by."
)

var words = map[string]word{
	"entered":  w("Data of a new entrant: rank ≤ top, and not on the board before. before, places, index_change and cause are null."),
	"moved":    w("Data of a change of rank, after which the index may be another one, too."),
	"dropped":  w("Data of a creator that dropped out. after is null unless it is still seen past the margin; if it is not seen, metrics are the last known."),
	"index":    w("Data of a change of potential_index, where no `moved` is due."),
	"board":    w("Data of the message that closes a reading and carries the whole board. It commits the reading's events: apply them when it comes."),
	"status":   w("Data of a change of condition, said once for each."),
	"envelope": w("CloudEvents 1.0 in structured JSON (application/cloudevents+json): the frame of all messages. Ignore attributes that you don't know."),
	"message":  w("Any message on <prefix>.>. Keys are always there; null is unknown or not applicable. Ignore keys that you don't know."),

	"envelope.specversion":     w("The version of CloudEvents.", only("1.0")),
	"envelope.id":              w("Unique, and the same each time the message is delivered: us-beauty/42/moved/<uid>, us-beauty/42/board, us-beauty/status/stale/<since>. After history had to be broken, us-beauty/42~2/…", short()),
	"envelope.source":          w("/<prefix>/<watchlist>; the watchlist is _token for what concerns the API token.", short()),
	"envelope.type":            w("rankwatch.<kind>", pattern(`^rankwatch\.`)),
	"envelope.subject":         w("The creator's uid, unescaped. Boards and statuses have none.", short(), long()),
	"envelope.time":            w("When the reading's last page came, or the condition changed (UTC).", format(), instant()),
	"envelope.datacontenttype": w("The media type of data.", only("application/json")),
	"envelope.dataschema":      w("Names the schema of data: rankwatch/v1/<kind>.", pattern("^rankwatch/v1/")),
	"envelope.data":            w("What the message says; see the schema that dataschema names."),

	"change.watchlist":       w("The watchlist's name.", short()),
	"change.region":          w("The region that the watchlist filters by; `all` if it does not.", short()),
	"change.revision":        w("Counts the watchlist's published readings: 1, 2, 3… without gaps.", atLeast(1)),
	"change.reading":         w("Names the reading; unique, also across attempts. The board that closes it has the same.", short()),
	"change.n":               w("The number of this event in the reading, from 1.", atLeast(1)),
	"change.of":              w("How many events the reading has, its board not counted.", atLeast(1)),
	"change.period":          w("What the reading covers; null if the source was asked for no period."),
	"change.previous_period": w("What the reading before covers; null if there was none."),
	"change.creator":         w("Who it is about."),
	"change.metrics":         w("The creator's figures in the period."),
	"change.before":          w("What was last reported of the creator: its rank by the last entered, moved or baseline, its index by the last event. null for `entered`."),
	"change.after":           w("Where the creator stands. Of `dropped` null, or its place when it is still seen past the margin."),
	"change.places":          w("before.rank − after.rank: above 0 is a climb. null where one end is."),
	"change.index_change":    w("after.potential_index − before.potential_index, in points. null where one end is."),
	"change.cause":           w("Why the rank changed since before.rank was reported: places = passed + dropped_above − passed_by − entered_above. null where one end is, or if the creator was unseen in between."),
	"change.history":         w("What is remembered of the creator on this board."),
	"change.edge":            w("Of `dropped`: it fell past the visible end of a list that goes on, so that it is out of sight, not known to be gone."),

	"period":       w("A span of time, as the source writes it."),
	"period.type":  w("The length of the span.", examples("day", "week", "month")),
	"period.value": w("A day 2026-03-01, an ISO week 2026-08, a month 2026-03."),

	"creator":                w("A creator as the source describes it."),
	"creator.uid":            w(uidMeans, short(), long()),
	"creator.unique_id":      w("The handle."),
	"creator.nickname":       w("The displayed name: anything a person can type. Escape it for where you show it."),
	"creator.avatar":         w("URL of a picture; it may expire."),
	"creator.region":         w("The creator's region."),
	"creator.category":       w("The creator's category."),
	"creator.follower_count": w("Followers."),
	"creator.url":            w("The creator's page on FastMoss."),

	"category":      w("A node of the source's category tree."),
	"category.id":   w("The source's number of the category."),
	"category.name": w("The category's name."),

	"metrics":                   w("Figures of the board's period. null is what the source did not say."),
	"metrics.usd_gmv":           w("Gross merchandise value in US dollars."),
	"metrics.units_sold":        w("Units sold."),
	"metrics.video_units_sold":  w("Units sold by videos."),
	"metrics.live_units_sold":   w("Units sold in live streams."),
	"metrics.avg_play_count":    w("Plays of a video on average."),
	"metrics.video_count":       w("Videos."),
	"metrics.ecommerce_type":    w("How the creator sells: the source's number."),
	"metrics.sales_category_l3": {about: "The categories sold from, on the third level.", null: true},

	"place":                 w("Where a creator stands."),
	"place.rank":            w(rankMeans, atLeast(1)),
	"place.position":        w("The place in the list, from 1.", atLeast(1)),
	"place.potential_index": w(indexMeans),

	"cause":               w("The parts of a change of rank, in creators."),
	"cause.passed":        w("Were above and are no longer.", atLeast(0)),
	"cause.passed_by":     w("Are above and were not before.", atLeast(0)),
	"cause.entered_above": w("Are above, and were not in the reading before, members or not.", atLeast(0)),
	"cause.dropped_above": w("Were above, and are not in this reading, members or not.", atLeast(0)),

	"history":                    w("What is remembered of a creator on this board."),
	"history.first_seen":         w("When it first became a member (UTC).", format(), instant()),
	"history.peak_rank":          w("Its best rank.", atLeast(1)),
	"history.revisions_on_board": w("Published revisions of its present membership, this one included if it is a member in it."),
	"history.reentry":            w("It dropped out before, as far as the stream remembers."),

	"snapshot.watchlist":         w("The watchlist's name.", short()),
	"snapshot.region":            w("The region that the watchlist filters by; `all` if it does not.", short()),
	"snapshot.revision":          w("Counts the watchlist's published readings: 1, 2, 3… without gaps.", atLeast(1)),
	"snapshot.previous_revision": w("The revision before this one in the stream; null for the first. With the reason `restored` it tells where history broke off.", atLeast(1)),
	"snapshot.reading":           w("Names the reading. Events whose reading no board names are to be ignored.", short()),
	"snapshot.writer":            w("Which worker process wrote it."),
	"snapshot.outcome":           w("`baseline` replaces all that a consumer holds; `changed` follows from the board before by the reading's events.", oneOf("baseline", "changed")),
	"snapshot.reason":            w("Why it is a baseline; null if it is none.", examples("first", "config", "rollover", "restored")),
	"snapshot.period":            w("What the reading covers; null if the source was asked for no period."),
	"snapshot.previous_period":   w("What the reading before covers; null if there was none."),
	"snapshot.fetched_at":        w("When the last page came (UTC); the same as time.", format(), instant()),
	"snapshot.total":             w("How many entries the source says the list has.", atLeast(0)),
	"snapshot.depth":             w("How many places were read at most. A total above it means that the list goes on past what was read.", atLeast(0)),
	"snapshot.duplicates":        w("Ids that the source listed again; each counts once, where it stands first.", atLeast(0)),
	"snapshot.skipped":           w("Entries without a usable id, skipped.", atLeast(0)),
	"snapshot.unchanged":         w("Identical readings before this one, which published nothing.", atLeast(0)),
	"snapshot.counts":            w("How many events the reading has, by kind."),
	"snapshot.rules":             w("The rules that the reading was compared by."),
	"snapshot.absent":            w("Members that the reading did not show and that have not dropped out yet."),
	"snapshot.holes":             w("Places of a tie that the source hid by shuffling it between calls."),
	"snapshot.interim":           w("Creators whom unpublished readings since the previous board did not show, or showed again."),
	"snapshot.events_digest":     w("Seals the reading's events: SHA-256 of them in order, a line each.", digest()),
	"snapshot.previous_digest":   w("Seals the board before: SHA-256 of that message. null where the writer did not know it.", digest()),
	"snapshot.board":             w("Everything that was read, in position order; at most 1000 rows."),

	"counts":         w("Numbers of events."),
	"counts.entered": w("Events of the kind `entered`.", atLeast(0)),
	"counts.moved":   w("Events of the kind `moved`.", atLeast(0)),
	"counts.dropped": w("Events of the kind `dropped`.", atLeast(0)),
	"counts.index":   w("Events of the kind `index`.", atLeast(0)),

	"rules":                  w("Rules of a watchlist."),
	"rules.top":              w("Ranks watched.", atLeast(1), pair{"maximum", 1000}),
	"rules.margin":           w("Places past top: a member leaves past rank top + margin only.", atLeast(0), pair{"maximum", 999}),
	"rules.ties":             w("How equal indexes rank.", examples("shared", "ordinal")),
	"rules.moved":            w("When `moved` is due."),
	"rules.index":            w("When `index` is due."),
	"rules.dropped":          w("When `dropped` is due."),
	"moves":                  w("The rule for `moved`."),
	"moves.min_places":       w("The least change, in ranks.", atLeast(1)),
	"moves.ignore_displaced": w("A move in which nobody was passed either way is not reported."),
	"steps":                  w("The rule for `index`."),
	"steps.min_change":       w("The least change, in points of potential_index.", atLeast(1)),
	"misses":                 w("The rule for `dropped`."),
	"misses.after":           w("Consecutive verified readings without the creator.", atLeast(1)),

	"row":                 w("One creator of a board."),
	"row.uid":             w(uidMeans, short(), long()),
	"row.unique_id":       w("The handle; empty if the source did not say."),
	"row.nickname":        w("The displayed name, cut at 64 bytes; empty if the source did not say. Escape it for where you show it."),
	"row.rank":            w(rankMeans, atLeast(1)),
	"row.position":        w("The place in the list, from 1.", atLeast(1)),
	"row.potential_index": w(indexMeans),
	"row.member":          w("It is on the watched board."),
	"row.edge":            w("It is in the tie that the end of the reading cuts through. Left out where it is false."),

	"absent":                 w("A member that the reading did not show."),
	"absent.uid":             w(uidMeans, short(), long()),
	"absent.rank":            w("The rank that was last reported.", atLeast(1)),
	"absent.potential_index": w("The index that was last reported."),
	"absent.misses":          w("Consecutive readings that are known not to have it.", atLeast(0)),
	"absent.unseen":          w("Consecutive readings that did not show it, for whatever reason.", atLeast(0)),

	"hole":                 w("A place that no scan could fill."),
	"hole.position":        w("The place in the list, from 1.", atLeast(1)),
	"hole.potential_index": w("The index of the tie."),

	"interim":        w("What unpublished readings did not show."),
	"interim.uid":    w(uidMeans, short(), long()),
	"interim.unseen": w("Readings in a row, up to the one before this, that did not show it.", atLeast(0)),

	"condition.watchlist": w("The watchlist's name, or _token for what concerns the API token.", short()),
	"condition.region":    w("The region that the watchlist filters by; `all` if it does not.", short()),
	"condition.status":    w("The condition.", short(), examples("stale", "recovered", "rejected", "waiting", "quota", "denied", "fenced", "retired")),
	"condition.reason":    w("A stable word for why.", short(), examples("torn", "short", "empty", "loss", "filter", "token", "fenced")),
	"condition.detail":    w("For people, in English; may change."),
	"condition.since":     w("When the condition began (UTC).", format(), instant()),
	"condition.next_try":  w("When it is read again (UTC); null if that is not known.", format(), instant()),
}
