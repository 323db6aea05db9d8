package kms

// Status is the HTTP status that goes with the code on the JSON 1.1 wire: 400, except for the
// server's own faults and for a body that is too large. The 404, 409, 412 and 503 of the Smithy
// model belong to other protocols.
func (c ErrorCode) Status() int {
	if status, ok := errorStatus[c]; ok {
		return status
	}
	return 400
}
