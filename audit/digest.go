package audit

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/kms11/kms11/durable"
	"github.com/kms11/kms11/kms"
)

// A Signer signs digests. The private key of the one that the service uses never leaves the token.
type Signer interface {
	// Public is the P-256 key that verifies.
	Public() *ecdsa.PublicKey
	// Sign signs the SHA-256 of message by ECDSA and gives the signature in ASN.1 DER.
	Sign(ctx context.Context, message []byte) ([]byte, error)
}

// digestDocument is the first line of a digest file. Its members are CloudTrail's where CloudTrail
// has them (CloudTrail User Guide, "CloudTrail digest file structure").
type digestDocument struct {
	Version            int          `json:"version"`
	Number             uint64       `json:"number"` // from 1
	StartTime          string       `json:"digestStartTime"`
	EndTime            string       `json:"digestEndTime"`
	File               string       `json:"digestFile"`
	Fingerprint        string       `json:"digestPublicKeyFingerprint"`
	SignatureAlgorithm string       `json:"digestSignatureAlgorithm"`
	LogFiles           []digestFile `json:"logFiles"`
	PreviousFile       *string      `json:"previousDigestFile"`
	PreviousHash       *string      `json:"previousDigestHashValue"`
	PreviousAlgorithm  *string      `json:"previousDigestHashAlgorithm"`
	PreviousSignature  *string      `json:"previousDigestSignature"`
}

// digestFile says up to where a digest covers a file of records. Its hash is that of the last record
// there, which holds the hash of the one before, and so on: it stands for all of them.
type digestFile struct {
	File          string `json:"file"`
	FirstSequence uint64 `json:"firstSequence"` // of the records that this digest adds
	LastSequence  uint64 `json:"lastSequence"`
	Size          int64  `json:"size"` // bytes of the file up to the end of the last record
	Hash          string `json:"hashValue"`
	Algorithm     string `json:"hashAlgorithm"`
}

// digestSeal is the second line.
type digestSeal struct {
	Signature string `json:"signature"` // hexadecimal
}

const (
	digestVersion      = 1
	hashAlgorithm      = "SHA-256"
	signatureAlgorithm = "SHA256withECDSA"
)

// message is what is signed. As CloudTrail does it, the signature of the digest before is in it.
func (d *digestDocument) message(document []byte) []byte {
	hash := sha256.Sum256(document)
	previous := "null"
	if d.PreviousSignature != nil {
		previous = *d.PreviousSignature
	}
	return fmt.Appendf(nil, "kms11 audit digest 1\n%s\n%s\n%x\n%s", d.EndTime, d.File, hash, previous)
}

// lastDigest is what the next digest needs to know of the one before.
type lastDigest struct {
	head      // of the chain, as far as it is covered
	number    uint64
	name      string
	hash      string
	signature string
	ended     string
	file      string // of the last record that is covered
	end       int64
}

// readLastDigest reads the newest digest, unverified. One that cannot be read is still the one
// before the next: Verify tells what is wrong with it.
func readLastDigest(dir string) (last lastDigest, err error) {
	files, err := listFiles(filepath.Join(dir, digestDir), digestName)
	if err != nil || len(files) == 0 {
		return last, err
	}
	newest := files[len(files)-1]
	content, err := os.ReadFile(filepath.Join(dir, digestDir, newest.name))
	if err != nil {
		return last, err
	}
	document, d, seal, err := parseDigest(content)
	hash := sha256.Sum256(document)
	last = lastDigest{number: newest.number, name: newest.name, hash: hex.EncodeToString(hash[:])}
	if err != nil {
		return last, nil
	}
	last.signature, last.ended = seal.Signature, d.EndTime
	if n := len(d.LogFiles); n > 0 {
		covered := d.LogFiles[n-1]
		last.file, last.end, last.sequence = covered.File, covered.Size, covered.LastSequence
		if raw, err := hex.DecodeString(covered.Hash); err == nil {
			copy(last.head.hash[:], raw)
		}
	}
	return last, nil
}

// parseDigest splits a digest file into its document and its seal.
func parseDigest(content []byte) (document []byte, d *digestDocument, seal digestSeal, err error) {
	document, rest, found := bytes.Cut(content, []byte{'\n'})
	if !found || !bytes.HasSuffix(rest, []byte{'\n'}) || bytes.Count(rest, []byte{'\n'}) != 1 {
		return document, nil, seal, errors.New("it is not two lines")
	}
	d = new(digestDocument)
	if err := strictJSON(document, d); err != nil {
		return document, nil, seal, err
	}
	if d.Version != digestVersion {
		return document, nil, seal, fmt.Errorf("its version is %d; this program knows %d", d.Version, digestVersion)
	}
	return document, d, seal, strictJSON(rest, &seal)
}

func strictJSON(text []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	return decoder.Decode(into)
}

// digester remembers the last digest and how the last attempt went.
type digester struct {
	making sync.Mutex // held while a digest is made

	mu      sync.Mutex // guards what follows
	last    lastDigest
	problem error
}

func (d *digester) state() (lastDigest, string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.problem != nil {
		return d.last, d.problem.Error()
	}
	return d.last, ""
}

// runDigests makes a digest at each interval in which there were records.
func (t *Trail) runDigests() {
	ticker := time.NewTicker(t.c.DigestInterval)
	defer ticker.Stop()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for {
		select {
		case <-t.quit:
			return
		case <-ticker.C:
		}
		if t.Ready() != nil {
			continue
		}
		if err := t.digest(ctx); err != nil {
			t.log.Error("no digest of the audit trail was made; it will be tried again", "error", err)
		}
	}
}

// digest signs for everything that is durable and that no digest covers. What fails is covered by
// the next one.
func (t *Trail) digest(ctx context.Context) (err error) {
	t.digests.making.Lock()
	defer t.digests.making.Unlock()
	t.mu.Lock()
	spans, covered := t.spans, t.durable
	t.spans = nil
	t.mu.Unlock()
	if len(spans) == 0 {
		return nil
	}
	var made *lastDigest
	if err = t.settle(); err == nil {
		made, err = t.signDigest(ctx, spans, covered)
	}
	t.digests.mu.Lock()
	t.digests.problem = err
	if made != nil {
		t.digests.last = *made
	}
	t.digests.mu.Unlock()
	if made == nil {
		t.mu.Lock()
		t.spans = joinSpans(spans, t.spans)
		t.mu.Unlock()
	}
	return err
}

// settle makes what Async wrote durable: a digest must not know more than the disk.
func (t *Trail) settle() error {
	if t.c.Mode == Strict {
		return nil
	}
	t.syncAsync()
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.stopped
}

// joinSpans puts spans that were not covered after all in front of newer ones.
func joinSpans(old, newer []span) []span {
	if n := len(old); n > 0 && len(newer) > 0 && newer[0].file == old[n-1].file {
		newer[0].first = old[n-1].first
		old = old[:n-1]
	}
	return append(old, newer...)
}

// signDigest writes a digest. It gives nil if none was written; with one and an error, only telling
// of it failed.
func (t *Trail) signDigest(ctx context.Context, spans []span, covered head) (*lastDigest, error) {
	t.digests.mu.Lock()
	last := t.digests.last
	t.digests.mu.Unlock()
	now := t.now().UTC()
	number := last.number + 1
	d := digestDocument{
		Version: digestVersion, Number: number,
		StartTime: last.ended, EndTime: now.Format(time.RFC3339),
		File:        fmt.Sprintf(digestForm, number, now.Format(fileTime)),
		Fingerprint: Fingerprint(t.c.Signer.Public()), SignatureAlgorithm: signatureAlgorithm,
	}
	if d.StartTime == "" {
		d.StartTime = d.EndTime
	}
	if last.number > 0 {
		algorithm := hashAlgorithm
		d.PreviousFile, d.PreviousHash, d.PreviousAlgorithm, d.PreviousSignature = &last.name, &last.hash, &algorithm, &last.signature
	}
	for _, s := range spans {
		d.LogFiles = append(d.LogFiles, digestFile{
			File: s.file, FirstSequence: s.first, LastSequence: s.last.sequence, Size: s.end,
			Hash: hex.EncodeToString(s.last.hash[:]), Algorithm: hashAlgorithm,
		})
	}
	document, err := json.Marshal(&d)
	if err != nil {
		return nil, err
	}
	signature, err := t.c.Signer.Sign(ctx, d.message(document))
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	seal := digestSeal{Signature: hex.EncodeToString(signature)}
	sealed, err := json.Marshal(seal)
	if err != nil {
		return nil, err
	}
	content := append(append(bytes.Clone(document), '\n'), append(sealed, '\n')...)
	if err := durable.WriteFile(filepath.Join(t.c.Dir, digestDir, d.File), content); err != nil {
		return nil, err
	}
	hash := sha256.Sum256(document)
	end := spans[len(spans)-1]
	made := &lastDigest{
		head: covered, number: number, name: d.File, hash: hex.EncodeToString(hash[:]), signature: seal.Signature,
		ended: d.EndTime, file: end.file, end: end.end,
	}
	if t.c.OnDigest != nil {
		if err := t.c.OnDigest(ctx, Anchor{Digest: number, Hash: made.hash, Sequence: covered.sequence}); err != nil {
			return made, fmt.Errorf("keeping the place of digest %d: %w", number, err)
		}
	}
	return made, nil
}

// Fingerprint names a public key: the SHA-256 of its DER SubjectPublicKeyInfo, in hexadecimal.
func Fingerprint(key *ecdsa.PublicKey) string {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return ""
	}
	hash := sha256.Sum256(der)
	return hex.EncodeToString(hash[:])
}

// exportKey puts the public key into the directory, for whoever verifies.
func (t *Trail) exportKey() error {
	der, err := x509.MarshalPKIXPublicKey(t.c.Signer.Public())
	if err != nil {
		return fmt.Errorf("the key that signs digests: %w", err)
	}
	path := filepath.Join(t.c.Dir, keysDir, Fingerprint(t.c.Signer.Public())+".pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	if there, err := os.ReadFile(path); err == nil && bytes.Equal(there, text) {
		return nil
	}
	return durable.WriteFile(path, text)
}

var _ kms.Audited = details{}
