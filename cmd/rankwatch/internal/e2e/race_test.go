//go:build race

package e2e

// underRace says that the race detector watches this package. It slows the
// oracle and the comparison down many times and sees nothing of the binary under
// test, which is built without it. So tests here take their short forms; the
// full ones run without the detector.
const underRace = true
