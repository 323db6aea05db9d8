package hsm

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"math/big"

	"github.com/miekg/pkcs11"
)

// A probePair is an RSA-2048 pair that may do everything, for one probe.
type probePair struct {
	public, private object
	key             rsa.PublicKey
	kept            int // length of prober.made that covers it
}

// pair makes the RSA pair on first use.
func (p *prober) pair() (*probePair, error) {
	if p.rsa != nil {
		return p.rsa, nil
	}
	all := useEncrypt | useDecrypt | useSign | useVerify | useWrap | useUnwrap
	pub, priv, err := p.keepPair(p.generateKeyPair(pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN,
		append(publicUse(all),
			pkcs11.NewAttribute(pkcs11.CKA_MODULUS_BITS, 2048),
			pkcs11.NewAttribute(pkcs11.CKA_PUBLIC_EXPONENT, []byte{1, 0, 1})),
		privateUse(all)))
	if err != nil {
		return nil, err
	}
	got, err := p.attributes(pub, pkcs11.CKA_MODULUS)
	if err != nil {
		return nil, err
	}
	p.rsa = &probePair{public: pub, private: priv, kept: len(p.made),
		key: rsa.PublicKey{N: new(big.Int).SetBytes(got[0]), E: 65537}}
	return p.rsa, nil
}

// oaepHashes are the hashes of RSA-OAEP.
var oaepHashes = []struct {
	name      string
	hash, mgf uint
	new       func() hash.Hash
}{
	{"SHA-1", pkcs11.CKM_SHA_1, pkcs11.CKG_MGF1_SHA1, sha1.New},
	{"SHA-256", pkcs11.CKM_SHA256, pkcs11.CKG_MGF1_SHA256, sha256.New},
	{"SHA-384", pkcs11.CKM_SHA384, pkcs11.CKG_MGF1_SHA384, sha512.New384},
	{"SHA-512", pkcs11.CKM_SHA512, pkcs11.CKG_MGF1_SHA512, sha512.New},
}

// importRows are the ways in for key material that was wrapped elsewhere.
func importRows() []probeRow {
	var rows []probeRow
	for _, h := range oaepHashes {
		params := func() *pkcs11.OAEPParams {
			return pkcs11.NewOAEPParams(h.hash, h.mgf, pkcs11.CKZ_DATA_SPECIFIED, nil)
		}
		sealed := func(pair *probePair) ([]byte, error) {
			return rsa.EncryptOAEP(h.new(), rand.Reader, &pair.key, probeMaterial, nil)
		}
		rows = append(rows,
			probeRow{"import", "RSA-OAEP " + h.name + " decrypt", func(p *prober) (string, error) {
				pair, err := p.pair()
				if err != nil {
					return "", err
				}
				text, err := sealed(pair)
				if err != nil {
					return "", err
				}
				got, err := p.decrypt(pkcs11.CKM_RSA_PKCS_OAEP, params(), pair.private, text)
				return "", exact(got, probeMaterial, err)
			}},
			probeRow{"import", "RSA-OAEP " + h.name + " unwrap", func(p *prober) (string, error) {
				pair, err := p.pair()
				if err != nil {
					return "", err
				}
				blob, err := sealed(pair)
				if err != nil {
					return "", err
				}
				o, err := p.keep(p.unwrapKey(pkcs11.CKM_RSA_PKCS_OAEP, params(), pair.private, blob, macKind.template(inUse)))
				if err != nil {
					return "", err
				}
				got, err := p.sign(pkcs11.CKM_SHA256_HMAC, nil, o, checkLabel)
				return "", exact(got, hmacSHA256(probeMaterial, checkLabel), err)
			}},
			probeRow{"import", "RSA_AES_KEY_WRAP " + h.name + " in one mechanism", func(p *prober) (string, error) {
				pair, err := p.pair()
				if err != nil {
					return "", err
				}
				key, err := p.keep(p.generateKey(macKind.generate, macKind.sized(leaving)))
				if err != nil {
					return "", err
				}
				both := &pkcs11.RSAAESKeyWrapParams{AESKeyBits: 256, OAEPParams: *params()}
				blob, err := p.wrapKey(pkcs11.CKM_RSA_AES_KEY_WRAP, both, pair.public, key)
				if err != nil {
					return "", err
				}
				_, err = p.keep(p.unwrapKey(pkcs11.CKM_RSA_AES_KEY_WRAP, both, pair.private, blob, macKind.template(inUse)))
				return "", err
			}})
	}
	return append(rows, probeRow{"import", "raw RSA decrypt (X_509)", func(p *prober) (string, error) {
		pair, err := p.pair()
		if err != nil {
			return "", err
		}
		text := append([]byte{1}, bytes.Repeat([]byte{0x55}, pair.key.Size()-2)...) // below the modulus
		c := new(big.Int).Exp(new(big.Int).SetBytes(text), big.NewInt(int64(pair.key.E)), pair.key.N)
		got, err := p.decrypt(pkcs11.CKM_RSA_X_509, nil, pair.private, c.FillBytes(make([]byte, pair.key.Size())))
		return "", exact(bytes.TrimLeft(got, "\x00"), text, err)
	}})
}

// sha256Prefix is the DER of a DigestInfo before the digest (RFC 8017, section 9.2).
var sha256Prefix = unhex("3031300d060960864801650304020105000420")

// rsaRows sign, and verify with the standard library.
var rsaRows = []probeRow{
	{"sign", "RSA PKCS#1 v1.5 on a digest", trySignRSA(pkcs11.CKM_RSA_PKCS, nil, true, verifyPKCS1)},
	{"sign", "RSA PKCS#1 v1.5 on a message", trySignRSA(pkcs11.CKM_SHA256_RSA_PKCS, nil, false, verifyPKCS1)},
	{"sign", "RSA-PSS on a digest", trySignRSA(pkcs11.CKM_RSA_PKCS_PSS, pssSHA256, true, verifyPSS)},
	{"sign", "RSA-PSS on a message", trySignRSA(pkcs11.CKM_SHA256_RSA_PKCS_PSS, pssSHA256, false, verifyPSS)},
}

func pssSHA256() []byte {
	return pkcs11.NewPSSParams(pkcs11.CKM_SHA256, pkcs11.CKG_MGF1_SHA256, sha256.Size)
}

func verifyPKCS1(key *rsa.PublicKey, digest, signature []byte) error {
	return rsa.VerifyPKCS1v15(key, crypto.SHA256, digest, signature)
}

func verifyPSS(key *rsa.PublicKey, digest, signature []byte) error {
	return rsa.VerifyPSS(key, crypto.SHA256, digest, signature, &rsa.PSSOptions{SaltLength: sha256.Size})
}

func trySignRSA(mech uint, parameter func() []byte, digested bool, verify func(*rsa.PublicKey, []byte, []byte) error) func(*prober) (string, error) {
	return func(p *prober) (string, error) {
		pair, err := p.pair()
		if err != nil {
			return "", err
		}
		digest := sha256.Sum256(checkLabel)
		input := checkLabel
		var params any
		if parameter != nil {
			params = parameter()
		}
		if digested {
			input = digest[:]
			if parameter == nil {
				input = append(bytes.Clone(sha256Prefix), input...)
			}
		}
		signature, err := p.sign(mech, params, pair.private, input)
		if err != nil {
			return "", err
		}
		return "", verify(&pair.key, digest[:], signature)
	}
}
