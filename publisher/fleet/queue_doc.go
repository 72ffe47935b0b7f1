// Package fleet lets several workers share one installation.
package fleet
