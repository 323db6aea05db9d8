package xks

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

func marshalled(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	return text
}

// keyMetadata is the metadata of a request that the doctor makes.
func keyMetadata(operation string) RequestMetadata {
	return RequestMetadata{
		PrincipalARN: "arn:aws:iam::000000000000:user/kms11-xks-doctor",
		KeyARN:       "arn:aws:kms:us-east-1:000000000000:key/00000000-0000-4000-8000-d0c705000000",
		Operation:    operation,
		RequestID:    "00000000-0000-4000-8000-d0c705000001",
	}
}

// changed gives the JSON of a request with members of its requestMetadata, or its own, replaced; nil
// takes one away. A member of the metadata is named with a leading dot.
func changed(request any, changes ...any) map[string]any {
	var object map[string]any
	if json.Unmarshal(marshalled(request), &object) != nil {
		return nil
	}
	for i := 0; i < len(changes); i += 2 {
		name, in := changes[i].(string), object
		if member, ok := strings.CutPrefix(name, "."); ok {
			name, in = member, object["requestMetadata"].(map[string]any)
		}
		if changes[i+1] == nil {
			delete(in, name)
		} else {
			in[name] = changes[i+1]
		}
	}
	return object
}

// metadataRules checks what is required of requestMetadata where no key is needed.
func (d *Doctor) metadataRules(ctx context.Context) {
	for _, p := range []probe{
		{name: "health: an empty requestMetadata", body: changed(healthRequest(), "requestMetadata", map[string]any{}), want: ValidationException},
		{name: "health: no requestMetadata", body: map[string]any{}, want: ValidationException},
		{name: "health: no kmsRequestId", body: changed(healthRequest(), ".kmsRequestId", nil), want: ValidationException, grade: Warned},
		{name: "health: no kmsOperation", body: changed(healthRequest(), ".kmsOperation", nil), want: ValidationException, grade: Warned},
		{name: "health: an unknown kmsOperation is taken", body: changed(healthRequest(), ".kmsOperation", "KmsOperationOfLater")},
		{name: "health: a kmsRequestId that is no UUID is taken", body: changed(healthRequest(), ".kmsRequestId", "opaque")},
		{name: "health: unknown members are taken", body: changed(healthRequest(), ".sourceIdentity", "x", "later", true)},
	} {
		p.path = "/health"
		d.try(ctx, d.client, p)
	}
}

// key checks GetKeyMetadata, and says whether Encrypt and Decrypt are worth a try.
func (d *Doctor) key(ctx context.Context) bool {
	request := MetadataRequest{keyMetadata("CreateKey")}
	d.try(ctx, d.client, probe{name: "GetKeyMetadata: a key that does not exist", path: "/keys/no-such-key-d0c705/metadata", body: request, want: KeyNotFoundException})
	path := "/keys/" + d.KeyID + "/metadata"
	d.try(ctx, d.client, probe{name: "GetKeyMetadata: without kmsKeyArn, as for CreateKey", path: path, body: changed(request, ".kmsKeyArn", nil), aws: ofKey})
	d.try(ctx, d.client, probe{name: "GetKeyMetadata: no awsPrincipalArn", path: path, body: changed(request, ".awsPrincipalArn", nil), want: ValidationException, grade: Warned})
	fact, err := d.client.GetMetadata(ctx, d.KeyID, request)
	if !d.works("GetKeyMetadata", err, ofKey) {
		return false
	}
	for _, c := range []struct {
		name   string
		ok     bool
		detail string
	}{
		{"keySpec", fact.KeySpec == KeySpecAES256, "The key spec of the external key must be AES_256. The key spec of specified external key is " + printable(fact.KeySpec) + "."},
		{"keyStatus", fact.KeyStatus == KeyEnabled, "The status of the external key must be ENABLED. The status of specified external key is " + printable(fact.KeyStatus) + "."},
		{"keyUsage", slices.Contains(fact.KeyUsage, UsageEncrypt) && slices.Contains(fact.KeyUsage, UsageDecrypt),
			"The key usage of the external key must include ENCRYPT and DECRYPT. The key use of specified external key is " + printable(strings.Join(fact.KeyUsage, ",")) + "."},
	} {
		f := Finding{Check: "GetKeyMetadata: " + c.name + " fits CreateKey", Grade: Passed}
		if !c.ok {
			f.Grade, f.AWS = Failed, "CreateKey: XksKeyInvalidConfigurationException: "+c.detail
		}
		d.report(f)
	}
	return fact.KeyStatus == KeyEnabled
}

// crypto checks Encrypt and Decrypt.
func (d *Doctor) crypto(ctx context.Context) {
	text := []byte("kms11 xks doctor: this protects nothing")
	aad := []byte("project=nile,department=marketing")
	plain := EncryptRequest{Metadata: keyMetadata("Encrypt"), Plaintext: text, AAD: aad, Algorithm: AlgorithmAESGCM, Integrity: IntegritySHA256}
	sealed, err := d.client.Encrypt(ctx, d.KeyID, plain)
	if !d.works("Encrypt: with AAD and integrity value", err, ofCrypto) {
		return
	}
	again, err := d.client.Encrypt(ctx, d.KeyID, plain)
	if d.works("Encrypt: again", err, ofCrypto) {
		d.check("Encrypt: another IV each time", !bytes.Equal(again.IV, sealed.IV), Failed, "two messages have the same IV: AES-GCM protects neither")
	}
	d.sizes(ctx)
	d.encryptRules(ctx, plain)
	open := DecryptRequest{Metadata: keyMetadata("Decrypt"), AAD: aad, Ciphertext: sealed.Ciphertext, CiphertextMetadata: sealed.Metadata, Algorithm: AlgorithmAESGCM, IV: sealed.IV, Tag: sealed.Tag}
	opened, err := d.client.Decrypt(ctx, d.KeyID, open)
	if d.works("Decrypt", err, ofCrypto) {
		d.check("Decrypt: the plaintext comes back", bytes.Equal(opened.Plaintext, text), Failed, "it is another one")
	}
	d.decryptRules(ctx, open)
}

// sizes checks what has to be supported.
func (d *Doctor) sizes(ctx context.Context) {
	for _, c := range []struct{ text, aad int }{{1, 0}, {4300, 0}, {32, 8192}, {4300, 8192}} {
		text, aad := bytes.Repeat([]byte{'d'}, c.text), bytes.Repeat([]byte{'a'}, c.aad)
		name := fmt.Sprintf("a plaintext of %d bytes with an AAD of %d", c.text, c.aad)
		sealed, err := d.client.Encrypt(ctx, d.KeyID, EncryptRequest{Metadata: keyMetadata("Encrypt"), Plaintext: text, AAD: aad})
		if !d.works("Encrypt: "+name, err, ofCrypto) {
			continue
		}
		opened, err := d.client.Decrypt(ctx, d.KeyID, DecryptRequest{Metadata: keyMetadata("Decrypt"), AAD: aad, Ciphertext: sealed.Ciphertext, CiphertextMetadata: sealed.Metadata, IV: sealed.IV, Tag: sealed.Tag})
		if err == nil && !bytes.Equal(opened.Plaintext, text) {
			err = errors.New("another plaintext comes back")
		}
		d.works("Decrypt: "+name, err, ofCrypto)
	}
}

func (d *Doctor) encryptRules(ctx context.Context, good EncryptRequest) {
	long := strings.Repeat("x", MaxARN)
	for _, p := range []probe{
		{name: "Encrypt: an unknown kmsOperation is taken", body: changed(good, ".kmsOperation", "BulkEncrypt"), also: nil},
		{name: "Encrypt: unknown members are taken", body: changed(good, ".sourceIdentity", "x", "later", []int{1})},
		{name: "Encrypt: ARNs of 2,048 characters are taken", body: changed(good, ".kmsKeyArn", long), grade: Warned},
		{name: "Encrypt: VPC and service are taken", body: changed(good, ".awsSourceVpc", "vpc-1", ".awsSourceVpce", "vpce-1", ".kmsViaService", "ebs")},
		{name: "Encrypt: an empty requestMetadata", body: changed(good, "requestMetadata", map[string]any{}), want: ValidationException},
		{name: "Encrypt: no awsPrincipalArn", body: changed(good, ".awsPrincipalArn", nil), want: ValidationException, grade: Warned},
		{name: "Encrypt: no kmsKeyArn", body: changed(good, ".kmsKeyArn", nil), want: ValidationException, grade: Warned},
		{name: "Encrypt: no plaintext", body: changed(good, "plaintext", nil), want: ValidationException},
		{name: "Encrypt: a plaintext that is no Base64", body: changed(good, "plaintext", "*"), want: ValidationException},
		{name: "Encrypt: no encryptionAlgorithm", body: changed(good, "encryptionAlgorithm", nil), want: ValidationException},
		{name: "Encrypt: another encryptionAlgorithm", body: changed(good, "encryptionAlgorithm", "AES_CBC"), want: ValidationException, also: []string{UnsupportedOperationException}},
		{name: "Encrypt: another integrity algorithm", body: changed(good, "ciphertextDataIntegrityValueAlgorithm", "MD5"), want: ValidationException, also: []string{UnsupportedOperationException}, grade: Warned},
	} {
		p.path = "/keys/" + d.KeyID + "/encrypt"
		d.try(ctx, d.client, p)
	}
}

// bent gives bytes with one bit changed.
func bent(b []byte) []byte {
	c := bytes.Clone(b)
	if len(c) > 0 {
		c[len(c)/2] ^= 1
	}
	return c
}

// decryptRules checks that nothing but the very ciphertext is decrypted. Where the specification
// leaves it open, a malformed member may be ValidationException too.
func (d *Doctor) decryptRules(ctx context.Context, good DecryptRequest) {
	with := func(change func(*DecryptRequest)) DecryptRequest {
		r := good
		change(&r)
		return r
	}
	lenient := []string{ValidationException}
	probes := []probe{
		{name: "Decrypt: an unknown kmsOperation is taken", body: changed(good, ".kmsOperation", "BulkDecrypt")},
		{name: "Decrypt: another AAD", body: with(func(r *DecryptRequest) { r.AAD = bent(r.AAD) }), want: InvalidCiphertextException},
		{name: "Decrypt: no AAD", body: with(func(r *DecryptRequest) { r.AAD = nil }), want: InvalidCiphertextException},
		{name: "Decrypt: another ciphertext", body: with(func(r *DecryptRequest) { r.Ciphertext = bent(r.Ciphertext) }), want: InvalidCiphertextException},
		{name: "Decrypt: another IV", body: with(func(r *DecryptRequest) { r.IV = bent(r.IV) }), want: InvalidCiphertextException},
		{name: "Decrypt: another tag", body: with(func(r *DecryptRequest) { r.Tag = bent(r.Tag) }), want: InvalidCiphertextException},
		{name: "Decrypt: no tag", body: changed(good, "authenticationTag", nil), want: InvalidCiphertextException, also: lenient},
		{name: "Decrypt: a tag of 12 bytes", body: with(func(r *DecryptRequest) { r.Tag = r.Tag[:12] }), want: InvalidCiphertextException, also: lenient},
		{name: "Decrypt: no IV", body: changed(good, "initializationVector", nil), want: InvalidCiphertextException, also: lenient},
		{name: "Decrypt: an IV of 13 bytes", body: with(func(r *DecryptRequest) { r.IV = make([]byte, 13) }), want: InvalidCiphertextException, also: lenient},
		{name: "Decrypt: no ciphertext", body: changed(good, "ciphertext", nil), want: InvalidCiphertextException, also: lenient},
		{name: "Decrypt: metadata of 21 bytes", body: with(func(r *DecryptRequest) { r.CiphertextMetadata = make([]byte, 21) }), want: ValidationException, also: []string{InvalidCiphertextException}},
		{name: "Decrypt: metadata where none was made, or others", body: with(func(r *DecryptRequest) {
			r.CiphertextMetadata = bent(append([]byte{1}, r.CiphertextMetadata[:min(19, len(r.CiphertextMetadata))]...))
		}), want: InvalidCiphertextException},
		{name: "Decrypt: the AAD as metadata", body: with(func(r *DecryptRequest) { r.CiphertextMetadata, r.AAD = r.AAD[:min(len(r.AAD), 20)], nil }), want: InvalidCiphertextException},
		{name: "Decrypt: no kmsKeyArn", body: changed(good, ".kmsKeyArn", nil), want: ValidationException, grade: Warned},
	}
	if len(good.CiphertextMetadata) > 0 {
		probes = append(probes,
			probe{name: "Decrypt: other ciphertextMetadata", body: with(func(r *DecryptRequest) { r.CiphertextMetadata = bent(r.CiphertextMetadata) }), want: InvalidCiphertextException},
			probe{name: "Decrypt: ciphertextMetadata behind the AAD", body: with(func(r *DecryptRequest) {
				r.AAD, r.CiphertextMetadata = append(bytes.Clone(r.AAD), r.CiphertextMetadata...), nil
			}), want: InvalidCiphertextException})
	}
	for _, p := range probes {
		p.path = "/keys/" + d.KeyID + "/decrypt"
		d.try(ctx, d.client, p)
	}
}
