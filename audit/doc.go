// Package audit keeps the trail of what was done to keys: one JSON record for each event, in the
// shape of AWS CloudTrail, one line each.
//
// Records are chained: each holds its sequence number and the SHA-256 of the line before it. Digests
// in the style of CloudTrail's, signed by a key that lives in the token, vouch for the chain at an
// interval. So whoever can write to the files can change, remove, reorder or insert nothing that a
// digest covers without Verify finding it. What each mode of a Trail promises is said at Mode; the
// formats are in docs/formats.md.
package audit
