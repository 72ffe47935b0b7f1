package diff

// Held is what the events and baselines up to b say of each member: its rank,
// its index and its position.
func Held(b Board) map[string]Place {
	held := make(map[string]Place, len(b.Rows))
	for i := range b.Rows {
		if b.Rows[i].Member {
			held[b.Rows[i].UID] = b.Rows[i].Reported
		}
	}
	return held
}

// Apply folds changes into held, as a consumer does: for every board,
// Apply(Held(before), changes) equals Held(after). The rank of an Indexed
// change is not taken, since it may lie within the rules' dead band.
func Apply(held map[string]Place, changes []Change) {
	for _, c := range changes {
		switch c.Kind {
		case Dropped:
			delete(held, c.UID)
		case Entered, Moved:
			held[c.UID] = c.After
		case Indexed:
			p := held[c.UID]
			p.Index, p.Position = c.After.Index, c.After.Position
			held[c.UID] = p
		}
	}
}
