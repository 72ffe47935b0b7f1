//go:build !unix

package web

import "math"

// maxFiles is how many files the process may have open.
func maxFiles() int { return math.MaxInt32 }
