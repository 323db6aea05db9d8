package hsm

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rsa"
	"errors"
	"fmt"
	"math/big"

	"github.com/kms11/kms11/kms"
	"github.com/miekg/pkcs11"
)

// SelfTest has a token give the published answers of each mechanism that kms11 uses, with session
// objects of published keys. A mechanism that the token lacks, or a kind of key that it takes from
// nobody, is Unsupported; one that gives another answer is a fault of the token.
func SelfTest(ctx context.Context, t *Token) ([]KnownAnswer, error) {
	var answers []KnownAnswer
	err := t.do(ctx, laneLong, func(s *session) error {
		answers = answers[:0]
		p := &prober{session: s}
		defer p.release(0)
		for _, row := range selfTests() {
			if err := ctx.Err(); err != nil {
				return err
			}
			f, err := p.run(row.probeRow)
			if err != nil {
				return err
			}
			a := KnownAnswer{Name: f.Name, Source: row.source, OK: f.OK, Detail: f.Detail}
			a.Unsupported = !f.OK && f.Detail != errNotExact.Error()
			answers = append(answers, a)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("self-test of %s: %w", t.config.URI, err)
	}
	return answers, nil
}

// A KnownAnswer is one test of SelfTest.
type KnownAnswer struct {
	Name   string `json:"name"`
	Source string `json:"source"` // of the key and the answer
	OK     bool   `json:"ok"`
	// Unsupported says that the token refused to do it, which Detail names.
	Unsupported bool   `json:"unsupported,omitempty"`
	Detail      string `json:"detail,omitempty"`
}

type selfTest struct {
	source string
	probeRow
}

// selfTests are all there are: vectors, which are data, and what has to be done for them.
func selfTests() []selfTest {
	rows := []selfTest{
		{"GCM specification of McGrew and Viega, test case 16", probeRow{name: "AES-256-GCM", try: knownGCM}},
	}
	for _, h := range knownMACs {
		rows = append(rows, selfTest{"RFC 4231, test case 6", probeRow{name: mechanismName(h.mechanism), try: func(p *prober) (string, error) {
			key, err := p.keep(p.createObject(macKind.known(inUse, bytes.Repeat([]byte{0xaa}, 131))))
			if err != nil {
				return "", err
			}
			got, err := p.sign(h.mechanism, nil, key, []byte("Test Using Larger Than Block-Size Key - Hash Key First"))
			return "", exact(got, unhex(h.mac), err)
		}}})
	}
	for _, c := range wrapCandidates {
		rows = append(rows, selfTest{"RFC 3394, section 4.6; RFC 5649, section 6", probeRow{name: string(c.algorithm), try: func(p *prober) (string, error) {
			var failed error
			for _, mechanism := range c.mechanisms {
				_, err := tryWraps(p.session, mechanism, c.tests)
				if err == nil {
					return "by " + mechanismName(mechanism), nil
				}
				failed = err
			}
			return "", failed
		}}})
	}
	for i := range schemes {
		if sc := &schemes[i]; sc.derive != nil {
			rows = append(rows, selfTest{"computed by Go's standard library", probeRow{name: "derivation " + string(sc.name), try: func(p *prober) (string, error) {
				return "", sc.tryDerive(p.session)
			}}})
		}
	}
	for _, v := range knownVerifications {
		rows = append(rows, selfTest{v.source, probeRow{name: "ECDSA verification on " + v.name, try: v.try}})
	}
	return append(rows,
		selfTest{"RFC 5903, section 8.1", probeRow{name: "ECDH on P-256", try: knownECDH}},
		selfTest{"RFC 8032, section 7.1, test 2", probeRow{name: "Ed25519", try: knownEd25519}},
		selfTest{"computed by Go's standard library", probeRow{name: "RSA PKCS #1 v1.5 signature", try: knownPKCS1}})
}

func knownGCM(p *prober) (string, error) {
	key, err := p.keep(p.createObject(messageKeyKind.known(inUse, unhex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308"))))
	if err != nil {
		return "", err
	}
	iv, aad := unhex("cafebabefacedbaddecaf888"), unhex("feedfacedeadbeeffeedfacedeadbeefabaddad2")
	text := unhex("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39")
	sealed := unhex("522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662" +
		"76fc6ece0f4e1768cddf8853bb2d551b")
	got, err := p.sealGCM(key, iv, aad, text)
	if err := exact(got, sealed, err); err != nil {
		return "", err
	}
	got, err = p.openGCM(key, iv, aad, sealed)
	return "", exact(got, text, err)
}

var knownMACs = []struct {
	mechanism uint
	mac       string
}{
	{pkcs11.CKM_SHA224_HMAC, "95e9a0db962095adaebe9b2d6f0dbce2d499f112f2d2b7273fa6870e"},
	{pkcs11.CKM_SHA256_HMAC, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
	{pkcs11.CKM_SHA384_HMAC, "4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f3cd11f05033ac4c60c2ef6ab4030fe8296248df163f44952"},
	{pkcs11.CKM_SHA512_HMAC, "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f3526b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598"},
}

// A knownVerification is a signature over "sample" and its public key.
type knownVerification struct {
	name, source string
	kind         ecKind
	hash         crypto.Hash
	point        string // x and y
	signature    string // r and s
}

var knownVerifications = []knownVerification{
	{"P-256", "RFC 6979, appendix A.2.5", ecKind{p256}, crypto.SHA256,
		"60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb67903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299",
		"efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8"},
	{"P-384", "RFC 6979, appendix A.2.6", ecKind{p384}, crypto.SHA384,
		"ec3a4e415b4e19a4568618029f427fa5da9a8bc4ae92e02e06aae5286b300c64def8f0ea9055866064a254515480bc13" +
			"8015d9b72d7d57244ea8ef9ac0c621896708a59367f9dfb9f54ca84b3f1c9db1288b231c3ae0d4fe7344fd2533264720",
		"94edbb92a5ecb8aad4736e56c691916b3f88140666ce9fa73d64c4ea95ad133c81a648152e44acf96e36dd1e80fabe46" +
			"99ef4aeb15f178cea1fe40db2603138f130e740a19624526203b6351d0a3a94fa329c145786e679e7b82c71a38628ac8"},
}

func (v knownVerification) try(p *prober) (string, error) {
	h := v.hash.New()
	h.Write([]byte("sample"))
	digest, signature := h.Sum(nil), unhex(v.signature)
	spki := writePublic(v.kind.algorithm(), append([]byte{4}, unhex(v.point)...))
	key, err := p.publicKey(v.kind, useVerify, spki)
	if err != nil {
		return "", err
	}
	if err := p.verify(pkcs11.CKM_ECDSA, nil, key, digest, signature); err != nil {
		if errors.Is(err, ErrBadSignature) {
			err = errNotExact
		}
		return "", err
	}
	signature[len(signature)-1] ^= 1
	if err := p.verify(pkcs11.CKM_ECDSA, nil, key, digest, signature); !errors.Is(err, ErrBadSignature) {
		return "", errNotExact
	}
	return "", nil
}

// publicKey puts a public key in, with the form of the point that the token takes.
func (p *prober) publicKey(k pairKind, u use, spki []byte) (o object, err error) {
	for _, bare := range []bool{false, true} {
		var template []*attribute
		if template, err = publicTemplate(k, u, spki, bare); err != nil {
			return 0, err
		}
		if o, err = p.keep(p.createObject(template)); err == nil || lost(err) {
			break
		}
	}
	return o, err
}

// privateKey puts the private key of a curve in.
func (p *prober) privateKey(k pairKind, name []byte, u use, value string) (object, error) {
	return p.keep(p.createObject(append(privateTemplate(k, inUse, u),
		pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, name), pkcs11.NewAttribute(pkcs11.CKA_VALUE, unhex(value)))))
}

func knownECDH(p *prober) (string, error) {
	k := ecKind{p256}
	key, err := p.privateKey(k, k.oid, useDerive, "c88f01f510d9ac3f70a292daa2316de544e9aab8afe84049c62a9c57862d1433")
	if err != nil {
		return "", err
	}
	got, err := p.session.agree(k, key, unhex("04d12dfb5289c8d4f81208b70270398c342296970a0bccb74c736fc7554494bf6356fbf3ca366cc23e8157854c13c58d6aac23f046ada30f8353e74f33039872ab"))
	return "", exact(got, unhex("d6840f6b42f6edafd13116e0e12565202fef8e9ece7dce03812464d04b9442de"), err)
}

func knownEd25519(p *prober) (string, error) {
	var failed error
	for _, name := range ed25519OIDs {
		key, err := p.privateKey(edKind{}, name, useSign, "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
		if err != nil {
			failed = err
			continue
		}
		got, err := p.sign(ckmEDDSA, nil, key, []byte{0x72})
		return "", exact(got, unhex("92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"), err)
	}
	return "", failed
}

// knownPKCS1 compares the signature of the known key with the standard library's: this padding
// leaves nothing to chance.
func knownPKCS1(p *prober) (string, error) {
	const bits = 2048
	components, spki, err := knownRSA(bits)
	if err != nil {
		return "", err
	}
	key, err := p.keep(p.createObject(append(privateTemplate(rsaKind{bits}, inUse, useSign), components...)))
	if err != nil {
		return "", err
	}
	g, err := signingOf(kms.SigningAlgorithmSpecRsassaPkcs1V15Sha256)
	if err != nil {
		return "", err
	}
	data, err := g.input(rsaKind{bits}, nil, SignInput{Message: checkLabel})
	if err != nil {
		return "", err
	}
	got, err := p.sign(g.mechanism, nil, key, data)
	if err != nil {
		return "", err
	}
	public, err := rsaKind{bits}.parse(spki)
	if err != nil {
		return "", err
	}
	digest := data[len(g.prefix):]
	if rsa.VerifyPKCS1v15(public, g.hash, digest, got) != nil || new(big.Int).SetBytes(got).Cmp(public.N) >= 0 {
		return "", errNotExact
	}
	return "", nil
}
