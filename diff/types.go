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
	Top             int // ranks watched
	Margin          int // ranks past Top that a member may fall to and stay
	Ties            Ties
	MinPlaces       int   // ranks; Moved
	IgnoreDisplaced bool  // Moved only if somebody overtook or was overtaken
	MinChange       int64 // points of index; Index
	DropAfter       int   // consecutive readings; Dropped
}

// An Entry is one creator of a reading.
type Entry struct {
	UID      string
	Index    int64 // potential_index
	Position int   // slot in the list, from 1
}

// A Hole is a slot of the list whose creator could not be seen.
type Hole struct {
	Index    int64
	Position int
}

// A Reading is one verified scan of a list: each uid once, positions rising.
// Entries and Holes together fill every slot from 1 on. Cut says that the list
// goes on past what was read, so that the last entry's tie is cut off.
type Reading struct {
	Entries []Entry
	Holes   []Hole
	Cut     bool
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
	Rank, Position int
	Index          int64
}

// Cause explains a change of rank: places = Passed + DroppedAbove - PassedBy -
// EnteredAbove.
type Cause struct {
	Passed, PassedBy, EnteredAbove, DroppedAbove int
}

// A Change is one creator's step. Before is what was last reported of the
// creator and has rank 0 if it entered; After has rank 0 if it dropped out of
// sight. Cause holds if CauseKnown. Row is the creator's row in the next board,
// -1 if it has none; From its row in the board before, -1 if it had none.
type Change struct {
	Kind       Kind
	UID        string
	Before     Place
	After      Place
	Cause      Cause
	CauseKnown bool
	Edge       bool
	Row        int
	From       int
}
