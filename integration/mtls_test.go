package integration_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/kms11/kms11/integration/kms11test"
)

// authority issues certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	serial      int64
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{key: must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der := must(x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key))(t)
	a.certificate = must(x509.ParseCertificate(der))(t)
	return a
}

func (a *authority) pem() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw}))
}

// issue makes a certificate and its key, both as PEM.
func (a *authority) issue(t *testing.T, change func(*x509.Certificate)) (certificate, key string) {
	t.Helper()
	private := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	a.serial++
	template := &x509.Certificate{
		SerialNumber: big.NewInt(a.serial + 1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	change(template)
	der := must(x509.CreateCertificate(rand.Reader, template, a.certificate, private.Public(), a.key))(t)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: must(x509.MarshalPKCS8PrivateKey(private))(t)}))
}

// TestMutualTLS has certificates stand for principals, as far as the map says.
func TestMutualTLS(t *testing.T) {
	ours, others := newAuthority(t), newAuthority(t)
	dir := t.TempDir()
	certificate, key := ours.issue(t, func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)} })
	kms11test.Write(t, dir, "server.pem", certificate)
	kms11test.Write(t, dir, "server.key", key)
	kms11test.Write(t, dir, "clients.pem", ours.pem())
	config := kms11test.Write(t, dir, "kms11.yaml", `
tls: {certificate: `+dir+`/server.pem, key: `+dir+`/server.key}
mtls:
  ca: `+dir+`/clients.pem
  principals:
    - {uri: "spiffe://example.org/ns/prod/sa/web", principal: "arn:aws:iam::111122223333:role/web"}
    - {cn: batch, principal: "arn:aws:iam::444455556666:user/batch"}
`)
	roots := x509.NewCertPool()
	roots.AddCert(ours.certificate)
	server := kms11test.StartTLS(t, &tls.Config{RootCAs: roots}, "--config", config)
	ctx := t.Context()
	server.Role(t, kms11test.Account, "web", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"sts:AssumeRole"}]}`, everything)
	batch := server.User(t, "444455556666", "batch", "")

	connect := func(from *authority, change func(*x509.Certificate)) *http.Client {
		t.Helper()
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
		if from != nil {
			certificate, key := from.issue(t, change)
			transport.TLSClientConfig.Certificates = []tls.Certificate{must(tls.X509KeyPair([]byte(certificate), []byte(key)))(t)}
		}
		t.Cleanup(transport.CloseIdleConnections)
		return &http.Client{Transport: transport, Timeout: time.Minute}
	}
	clients := func(c *http.Client, key aws.Credentials) (*kms.Client, *sts.Client) {
		var by aws.CredentialsProvider = aws.AnonymousCredentials{}
		if key.AccessKeyID != "" {
			by = credentials.NewStaticCredentialsProvider(key.AccessKeyID, key.SecretAccessKey, key.SessionToken)
		}
		at := aws.String("https://" + server.Listen)
		return kms.New(kms.Options{BaseEndpoint: at, Region: kms11test.Region, Credentials: by, RetryMaxAttempts: 1, HTTPClient: c}),
			sts.New(sts.Options{BaseEndpoint: at, Region: kms11test.Region, Credentials: by, RetryMaxAttempts: 1, HTTPClient: c})
	}
	web := connect(ours, func(c *x509.Certificate) {
		c.Subject.CommonName, c.URIs = "web-1", []*url.URL{must(url.Parse("spiffe://example.org/ns/prod/sa/web"))(t)}
	})
	byWeb, asWeb := clients(web, aws.Credentials{})
	who := must(asWeb.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{}))(t)
	if *who.Arn != "arn:aws:sts::111122223333:assumed-role/web/web-1" {
		t.Errorf("the certificate stands for %s", *who.Arn)
	}
	made := must(byWeb.CreateKey(ctx, &kms.CreateKeyInput{}))(t).KeyMetadata
	sealed := must(byWeb.Encrypt(ctx, &kms.EncryptInput{KeyId: made.Arn, Plaintext: []byte("by certificate")}))(t)
	if opened := must(byWeb.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob}))(t); string(opened.Plaintext) != "by certificate" {
		t.Error("decrypt gave something else")
	}
	// A user without policies, of another account.
	byBatch, _ := clients(connect(ours, func(c *x509.Certificate) { c.Subject.CommonName = "batch" }), aws.Credentials{})
	_, err := byBatch.ListKeys(ctx, &kms.ListKeysInput{})
	wantCode(t, err, "AccessDeniedException", "User: arn:aws:iam::444455556666:user/batch is not authorized to perform: kms:ListKeys")
	// A signature is judged by itself.
	_, asBatch := clients(web, batch)
	if who := must(asBatch.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{}))(t); *who.Arn != "arn:aws:iam::444455556666:user/batch" {
		t.Errorf("the signature is of %s", *who.Arn)
	}
	bad := batch
	bad.SecretAccessKey = "wrong"
	badKMS, _ := clients(web, bad)
	_, err = badKMS.ListKeys(ctx, &kms.ListKeysInput{})
	wantCode(t, err, "InvalidSignatureException", "")
	// No certificate, one that nothing is said about, and one of another authority.
	for what, c := range map[string]*http.Client{"none": connect(nil, nil), "unknown": connect(ours, func(c *x509.Certificate) { c.Subject.CommonName = "stranger" })} {
		nobody, _ := clients(c, aws.Credentials{})
		_, err := nobody.ListKeys(ctx, &kms.ListKeysInput{})
		t.Log(what)
		wantCode(t, err, "MissingAuthenticationTokenException", "Missing Authentication Token")
	}
	forger, _ := clients(connect(others, func(c *x509.Certificate) { c.Subject.CommonName = "batch" }), aws.Credentials{})
	if _, err := forger.ListKeys(ctx, &kms.ListKeysInput{}); err == nil {
		t.Error("a certificate of another authority was taken")
	}
}
