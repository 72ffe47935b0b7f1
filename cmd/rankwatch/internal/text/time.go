package text

import "time"

// Seconds is the form of a UTC time in a column whose head says that it is UTC.
const Seconds = "2006-01-02 15:04:05"

// Stamp is t in a sentence, in UTC and to the second.
func Stamp(t time.Time) string { return t.UTC().Format(Seconds + " UTC") }
