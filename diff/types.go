// Package diff compares two readings of one ranking list.
//
// It is arithmetic, not a service: the same board, reading and rules give the
// same changes, in the same order, on any machine at any hour. Replay and
// proof depend on that.
package diff

// Ties says how entries with the same index are ranked.
type Ties uint8

// With Shared, a tie shares the rank 1 + the number of entries with a strictly
// higher index. With Ordinal, rank is the place in the list when each tie is
// put in its previous order (then by uid), so that a reshuffled tie moves
// nobody.
const (
	Shared Ties = iota
	Ordinal
)

// String returns the name that watchlist files use.
func (t Ties) String() string {
	if t == Ordinal {
		return "ordinal"
	}
	return "shared"
}

// Rules say what counts as a change. The zero value is not usable; Top,
// MinPlaces, MinChange and DropAfter are at least 1.
type Rules struct {
	Top             int32 // ranks watched
	Margin          int32 // ranks past Top that a member may fall to and stay
	Ties            Ties
	MinPlaces       int32 // ranks; Moved
	IgnoreDisplaced bool  // Moved only if somebody overtook or was overtaken
	MinChange       int64 // points of index; Index
	DropAfter       int32 // consecutive readings; Dropped
}

// An Entry is one creator of a reading.
type Entry struct {
	UID      string
	Index    int64 // potential_index
	Position int32 // slot in the list, from 1
}

// A Hole is a slot of the list whose creator could not be seen.
type Hole struct {
	Index    int64
	Position int32
}

// A Reading is one verified scan of a list: each uid once, positions rising.
// Entries and Holes together fill every slot from 1 on. Cut says that the list
// goes on past what was read, so that the last entry's tie is cut off.
//
// Revision is the number that the reading gets if it is published, At a moment
// of the caller's choosing, for Row.Since and Row.FirstSeen.
type Reading struct {
	Entries  []Entry
	Holes    []Hole
	Cut      bool
	Revision uint64
	At       int64
}

// A Kind is what happened to a creator.
type Kind uint8

// The kinds in the order in which a reading reports them.
const (
	Dropped Kind = iota
	Entered
	Moved
	Indexed
)

// A Place is where a creator stands. Rank and Position start at 1.
type Place struct {
	Rank, Position int32
	Index          int64
}

// Cause explains a change of rank: places = Passed + DroppedAbove - PassedBy -
// EnteredAbove.
type Cause struct {
	Passed, PassedBy, EnteredAbove, DroppedAbove int32
}

// A Change is one creator's step. Before is what was last reported of the
// creator and has rank 0 if it entered; After has rank 0 if it dropped out of
// sight. Cause holds if CauseKnown. Row is the creator's row in the next board,
// None if it has none; From its row in the board before, None if it had none.
type Change struct {
	Kind       Kind
	UID        string
	Before     Place
	After      Place
	Cause      Cause
	CauseKnown bool
	Edge       bool
	Row        int32
	From       int32
}

// A Row is what is tracked of one creator between readings.
type Row struct {
	UID string

	// As of the last published reading that showed the creator.
	Index          int64
	Rank, Position int32
	// Listed: the last published reading had the creator, seen or, in a tie that
	// the source shuffles, assumed to fill a hole.
	Listed bool
	// Edge: it stood in the tie that the end of that reading cuts through.
	Edge bool

	// Unseen counts the readings in a row that did not show the creator, for
	// whatever reason; Misses those that are known to count against it.
	Unseen, Misses int32
	// Interim: an unpublished reading since the last published one has changed
	// Unseen. The next published reading tells of it and starts afresh.
	Interim bool

	// The rest holds for members only. Reported is what the events so far say of
	// the creator: Rank as of the last Entered, Moved or baseline, Index and
	// Position as of its last event. Cause adds up what happened since
	// Reported.Rank, as long as CauseKnown.
	Member     bool
	CauseKnown bool
	Cause      Cause
	Reported   Place
	Peak       int32  // best rank as a member
	Since      uint64 // revision in which its membership began
	FirstSeen  int64  // Reading.At of that revision, or earlier if remembered
}

// A Board is what is tracked of a list: the creators of the last published
// reading in position order, then those that are only remembered. Holes are the
// slots of that reading that nobody is assumed to fill.
type Board struct {
	Rows  []Row
	Holes []Hole
}

// A Result is what a reading means for a board. Changed says that the reading
// is to be published: a rank, an index, or a presence outside the cut-off tie,
// or a count of misses, is not what it was. Dirty says that Board differs from
// the board before, which an unchanged reading can do, too. Lost are the
// members that stood on the board before and now don't, without those that the
// cut-off tie may have swallowed; Present is how many stood there.
type Result struct {
	Board   Board
	Changes []Change
	Changed bool
	Dirty   bool
	Lost    []string
	Present int
}

// None stands for "no such row".
const None = -1
