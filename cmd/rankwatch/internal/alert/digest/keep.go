package digest

// Keep is the section with at most n of its changes shown, the most telling
// ones in their order; the others are counted with those that were not shown.
func (s Section) Keep(n int) Section {
	shown, more := choose(s.Shown, max(n, 0))
	s.Shown, s.More = shown, s.More.Plus(more)
	return s
}
