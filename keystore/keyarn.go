package keystore

// ARN is the key's ARN.
func (id KeyID) ARN() string {
	return "arn:" + id.Partition + ":kms:" + id.Region + ":" + id.Account + ":key/" + id.ID
}

// madeARN is the ARN of a record that was read from the store, made once for all requests. A copy of the
// record, which may become another key's, is not what it is of.
type madeARN struct {
	of   *KeyRecord
	text string
}

func (r *KeyRecord) makeARN() { r.arn = madeARN{of: r, text: r.KeyID().ARN()} }

// ARN is the key's ARN.
func (r *KeyRecord) ARN() string {
	if r.arn.of == r {
		return r.arn.text
	}
	return r.KeyID().ARN()
}
