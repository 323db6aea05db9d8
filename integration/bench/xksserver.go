package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kms11/kms11/sigv4"
)

// An xksServer is a server with a proxy.
type xksServer struct {
	*server
	address string // of the proxy
	tls     *tls.Config
	admin   *http.Client
	keys    []string
}

// newXKSServer starts a server with a proxy on loopback.
func newXKSServer(ctx context.Context, opts options, dir string, secured bool) (*xksServer, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0") // only to find a free port
	if err != nil {
		return nil, err
	}
	x := &xksServer{address: listener.Addr().String()}
	if err := listener.Close(); err != nil {
		return nil, err
	}
	config := "xks:\n  listen: " + x.address + "\n"
	if secured {
		cert, key, pool, err := benchCertificate(dir)
		if err != nil {
			return nil, err
		}
		x.tls = &tls.Config{RootCAs: pool, ServerName: "localhost"}
		config += "  tls: {certificate: " + cert + ", key: " + key + "}\n"
	}
	opts.config = config
	if x.server, err = newServer(ctx, opts, dir); err != nil {
		return nil, err
	}
	socket := filepath.Join(dir, "data", "admin.sock")
	x.admin = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	if err := x.setUp(); err != nil {
		return nil, errors.Join(err, x.stop())
	}
	return x, nil
}

// benchCertificate makes a certificate that signs itself.
func benchCertificate(dir string) (cert, keyFile string, pool *x509.CertPool, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return "", "", nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", "", nil, err
	}
	cert, keyFile, pool = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), x509.NewCertPool()
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	pool.AppendCertsFromPEM(text)
	return cert, keyFile, pool, errors.Join(os.WriteFile(cert, text, 0o600),
		os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
}

// command sends a command to the admin socket.
func (x *xksServer) command(path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	response, err := x.admin.Post("http://kms11/xks/"+path, "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("xks %s: %s", path, answer)
	}
	return json.Unmarshal(answer, out)
}

// setUp makes a tenant and a credential.
func (x *xksServer) setUp() error {
	var none struct{}
	if err := x.command("tenant/create", map[string]any{"prefix": xksBenchPrefix}, &none); err != nil {
		return err
	}
	var file struct {
		XksProxyAuthenticationCredential struct{ AccessKeyId, RawSecretAccessKey string }
	}
	if err := x.command("credential/create", map[string]any{"prefix": xksBenchPrefix}, &file); err != nil {
		return err
	}
	c := file.XksProxyAuthenticationCredential
	x.id = identity{c.AccessKeyId, c.RawSecretAccessKey, "us-east-2"}
	return nil
}

// fill makes key objects in the token until there are n.
func (x *xksServer) fill(n int) error {
	for len(x.keys) < n {
		id := fmt.Sprintf("bench-%d", len(x.keys))
		var fact struct{ ID string }
		if err := x.command("key/create", map[string]any{"prefix": xksBenchPrefix, "id": id, "object": "pkcs11:object=" + id, "generate": true}, &fact); err != nil {
			return err
		}
		x.keys = append(x.keys, id)
	}
	return nil
}

// prepare makes the bytes of a signed request.
func (x *xksServer) prepare(path, body string) ([]byte, error) {
	r, err := http.NewRequest(http.MethodPost, "http://"+x.address+xksBenchPrefix+"/kms/xks/v1"+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	if err := sigv4.Sign(r, []byte(body), x.id.accessKeyID, sigv4.Credential{Secret: x.id.secret}, x.id.region, "kms-xks-proxy", time.Now()); err != nil {
		return nil, err
	}
	var wire bytes.Buffer
	err = r.Write(&wire)
	return wire.Bytes(), err
}

// connect opens connections to the proxy.
func (x *xksServer) connect(ctx context.Context, n int, warm [][]byte) (connections, error) {
	var all connections
	for range n {
		c, err := dial(ctx, x.address)
		if err == nil && x.tls != nil {
			secured := tls.Client(c.conn, x.tls)
			if err = secured.HandshakeContext(ctx); err == nil {
				c.conn, c.reader = secured, bufio.NewReader(secured)
			}
		}
		if err != nil {
			all.close()
			return nil, err
		}
		all = append(all, c)
	}
	for i, request := range warm { // each key is found before the window
		if _, err := all[i%n].do(request); err != nil {
			all.close()
			return nil, err
		}
	}
	return all, nil
}

// requests are signed requests of an operation, one for each key.
func (x *xksServer) requests(ctx context.Context, name, path string) ([][]byte, error) {
	var all [][]byte
	for _, key := range x.keys {
		at, body := path, `{`+xksMeta+`}`
		if strings.Contains(path, "%s") {
			at = fmt.Sprintf(path, key)
		}
		switch name {
		case "xks-encrypt":
			body = xksEncryptBody("")
		case "xks-encrypt-checked":
			body = xksEncryptBody(`,"ciphertextDataIntegrityValueAlgorithm":"SHA_256"`)
		case "xks-decrypt":
			sealed, err := x.sealed(ctx, key)
			if err != nil {
				return nil, err
			}
			body = xksDecryptBody(sealed)
		}
		request, err := x.prepare(at, body)
		if err != nil {
			return nil, err
		}
		all = append(all, request)
	}
	return all, nil
}

// sealed encrypts with a key and gives the members of a Decrypt.
func (x *xksServer) sealed(ctx context.Context, key string) (string, error) {
	request, err := x.prepare("/keys/"+key+"/encrypt", xksEncryptBody(""))
	if err != nil {
		return "", err
	}
	all, err := x.connect(ctx, 1, nil)
	if err != nil {
		return "", err
	}
	defer all.close()
	answer, err := all[0].do(request)
	if err != nil {
		return "", err
	}
	return strings.Trim(string(answer), "{}"), nil
}
