package audit

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// promise is what a digest says of a file.
type promise struct {
	digest string
	digestFile
}

func (v *verifier) loadKeys() error {
	keys := v.options.Keys
	if len(keys) == 0 {
		files, err := filepath.Glob(filepath.Join(v.dir, keysDir, "*.pem"))
		if err != nil {
			return err
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			key, err := ParsePublicKey(text)
			if err != nil {
				v.found(Finding{File: filepath.Join(keysDir, filepath.Base(file)), Problem: err.Error()})
				continue
			}
			keys = append(keys, key)
		}
	}
	for _, key := range keys {
		v.keys[Fingerprint(key)] = key
	}
	return nil
}

// ParsePublicKey reads a P-256 key as Trail exports it: PEM, "PUBLIC KEY".
func ParsePublicKey(text []byte) (*ecdsa.PublicKey, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PUBLIC KEY" {
		return nil, errors.New("it is not a public key in PEM")
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("it is not a public key: %w", err)
	}
	key, ok := parsed.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, errors.New("it is not a P-256 key")
	}
	return key, nil
}

// digests checks the chain of digests and gives the first record that it covers.
func (v *verifier) digests() (first uint64, err error) {
	files, err := listFiles(filepath.Join(v.dir, digestDir), digestName)
	if err != nil {
		return 0, err
	}
	first = 1
	var last *digestDocument
	var lastHash, lastSignature string
	broken := false // the digest before cannot be compared with
	for i, file := range files {
		at := Finding{File: filepath.Join(digestDir, file.name)}
		fault := func(format string, args ...any) {
			at.Problem = fmt.Sprintf(format, args...)
			v.found(at)
		}
		switch {
		case i == 0 && file.number != 1 && !v.options.Partial:
			fault("digests 1 to %d are missing", file.number-1)
		case i > 0 && file.number == files[i-1].number:
			fault("there are two digests %d", file.number)
		case i > 0 && file.number != files[i-1].number+1:
			fault("digests %d to %d are missing", files[i-1].number+1, file.number-1)
			broken = true
		}
		content, err := os.ReadFile(filepath.Join(v.dir, digestDir, file.name))
		if err != nil {
			return 0, err
		}
		document, d, seal, err := parseDigest(content)
		if err != nil {
			fault("it is not a digest: %v", err)
			last, broken = nil, true
			continue
		}
		v.report.Digests++
		if d.File != file.name || d.Number != file.number {
			fault("it is digest %d, made as %s: it was moved or renamed", d.Number, d.File)
		}
		if i > 0 && !broken && (d.PreviousHash == nil || *d.PreviousHash != lastHash || d.PreviousSignature == nil || *d.PreviousSignature != lastSignature) {
			fault("it does not follow digest %d as it is here: one of the two was changed or replaced", last.Number)
		}
		if file.number == 1 && d.PreviousHash != nil {
			fault("it is the first and names one before it")
		}
		if problem := v.signature(d, document, seal); problem != "" {
			fault("%s", problem)
		} else if n := len(d.LogFiles); n > 0 {
			v.report.Covered = max(v.report.Covered, d.LogFiles[n-1].LastSequence)
		}
		for j, covered := range d.LogFiles {
			if i == 0 && j == 0 {
				first = covered.FirstSequence
			}
			v.pending[covered.File] = append(v.pending[covered.File], promise{file.name, covered})
		}
		hash := sha256.Sum256(document)
		last, lastHash, lastSignature, broken = d, hex.EncodeToString(hash[:]), seal.Signature, false
	}
	return first, nil
}

func (v *verifier) signature(d *digestDocument, document []byte, seal digestSeal) string {
	key, known := v.keys[d.Fingerprint]
	if !known {
		return fmt.Sprintf("it was signed by a key that is not trusted, %s", d.Fingerprint)
	}
	signature, err := hex.DecodeString(seal.Signature)
	if err != nil || d.SignatureAlgorithm != signatureAlgorithm {
		return "its signature has no known form"
	}
	hash := sha256.Sum256(d.message(document))
	if !ecdsa.VerifyASN1(key, hash[:], signature) {
		return "its signature is wrong: it was changed after it was signed, or signed by somebody else"
	}
	return ""
}
