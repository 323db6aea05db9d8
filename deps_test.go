// Package kms11_test holds the rules for the whole module.
package kms11_test

import (
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/kms11/kms11/"

// layer says what the packages of one folder may import, besides the standard library and each
// other. Names ending in "/..." stand for a folder and all below it; names without a dot are
// folders of this module.
type layer struct {
	folder  string
	imports []string
	reason  string
}

// layers are the packages of the module, bottom first: imports go one way, downwards. A folder
// below another one has a row of its own where its rules differ.
var layers = []layer{
	{"kms", nil,
		"the vocabulary: everything may depend on it because it depends on nothing"},
	{"sigv4", nil,
		"security code that can be read and reused by itself"},
	{"durable", nil,
		"files that outlive a crash, for whoever keeps some"},
	{"testkit", nil,
		"what tests of several packages need, in no way of anything"},
	{"policy", []string{"kms"},
		"pure decisions without I/O, so that they can be tested exhaustively"},
	{"attest", []string{"kms", "github.com/fxamacker/cbor/..."},
		"security code that can be read by itself: bytes in, a verdict out; who asks is decided above"},
	{"oidc", []string{"github.com/go-jose/go-jose/v4"},
		"security code that can be read by itself: a token in, its subject out; who may do what is decided above"},
	{"audit", []string{"kms", "durable"},
		"records are data; who writes them is decided above"},
	{"hsm", []string{"kms", "github.com/miekg/pkcs11", "github.com/ThalesGroup/crypto11"},
		"the one package that knows PKCS#11"},
	{"keystore", []string{"kms"},
		"the rules of the store know neither tokens nor databases"},
	{"keystore/boltengine", []string{"keystore", "durable", "go.etcd.io/bbolt/..."},
		"an engine is a driver behind the Engine interface"},
	{"keystore/etcdengine", []string{"keystore", "go.etcd.io/etcd/..."},
		"an engine is a driver behind the Engine interface"},
	{"keystore/enginetest", []string{"keystore"},
		"one conformance suite that no engine can bend"},
	{"ops", []string{"kms", "keystore", "hsm", "policy", "audit", "attest", "oidc"},
		"KMS semantics know no protocol; what they need of an external key store is an interface of their own"},
	{"identity", []string{"kms", "keystore", "ops", "go.yaml.in/yaml/v3"},
		"files in, identities out; what makes a good one is for ops to say"},
	{"api", []string{"kms", "sigv4", "ops"},
		"the protocol reaches keys only through ops"},
	{"xks", []string{"kms", "sigv4", "ops"},
		"the protocol reaches keys only through ops"},
	{"metrics", []string{"ops", "github.com/prometheus/client_golang/..."},
		"reads the state that ops tells and is told of requests; the protocols know an interface of their own"},
	{"cmd", []string{
		"kms", "sigv4", "policy", "audit", "attest", "oidc", "hsm", "keystore/...", "ops", "identity", "api", "xks", "metrics", "durable",
		"github.com/urfave/cli/v2", "go.yaml.in/yaml/v3",
	},
		"the only place where everything meets"},
	{"integration", []string{"integration/kms11test", "github.com/aws/...", "go.etcd.io/bbolt"},
		"black box: it sees the binary, the wire and, as a foe would, the keystore's file; never the code"},
	{"integration/bench", []string{"kms", "hsm", "sigv4", "golang.org/x/sys/unix", "github.com/aws/..."},
		"the floors it measures are made of the same parts as the server"},
}

// guarded are imports with few rightful users, wherever a layer's row might let them in later.
var guarded = []struct {
	path    string
	folders []string
	reason  string
}{
	{"github.com/miekg/pkcs11", []string{"hsm"},
		"a token is reached through hsm's sessions only"},
	{"github.com/ThalesGroup/crypto11", []string{"hsm"},
		"it must be configured before our own handle, which hsm sees to"},
	{"github.com/urfave/...", []string{"cmd"},
		"a library must not know the command line"},
	{"unsafe", []string{"hsm"},
		"memory shared with C is hsm's business"},
	{"C", []string{"hsm"},
		"C is called in one package"},
	{"github.com/fxamacker/...", []string{"attest"},
		"CBOR comes from outside and is read by one decoder with one set of limits"},
	{"github.com/go-jose/...", []string{"oidc"},
		"tokens from outside are read by one verifier with one list of algorithms"},
	{"github.com/prometheus/...", []string{"metrics"},
		"one package decides what is measured and how labels are bounded; its registry is not the global one"},
	{"testing", []string{"attest/attesttest", "hsm/hsmtest", "keystore/enginetest", "integration/kms11test"},
		"test helpers stay out of the binary"},
	{"log", nil,
		"libraries return errors; where a log is unavoidable they take a *slog.Logger"},
	{"math/rand/...", []string{"kms", "hsm/hsmtest", "keystore/enginetest", "integration/bench"},
		"random bytes come from the token or from crypto/rand; kms makes no more of them than ids that are no secret"},
}

// goPackage is what `go list` says of a package. Imports leaves its tests out.
type goPackage struct {
	ImportPath   string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

func listPackages(t *testing.T) []goPackage {
	t.Helper()
	output, err := exec.Command("go", "list", "-json=ImportPath,Imports,TestImports,XTestImports", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	var packages []goPackage
	for decoder := json.NewDecoder(strings.NewReader(string(output))); decoder.More(); {
		var p goPackage
		if err := decoder.Decode(&p); err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
	return packages
}

func TestImportsGoOneWay(t *testing.T) {
	for _, p := range listPackages(t) {
		folder, inModule := strings.CutPrefix(p.ImportPath, module)
		if !inModule {
			continue // the root, which holds this test only
		}
		rules, found := layerOf(folder)
		if !found {
			t.Errorf("%s has no row in layers: say there what it may import, and why", folder)
			continue
		}
		imports := p.Imports
		if rules.folder == "integration" { // its tests are the product: the rule is for them too
			imports = slices.Concat(imports, p.TestImports, p.XTestImports)
		}
		for _, path := range imports {
			if !rules.allows(path) {
				t.Errorf("%s imports %s (%s: %s)", folder, path, rules.folder, rules.reason)
			}
		}
	}
}

func TestGuardedImports(t *testing.T) {
	for _, p := range listPackages(t) {
		folder := strings.TrimPrefix(p.ImportPath, module)
		for _, path := range p.Imports {
			for _, guard := range guarded {
				mine := func(f string) bool { return within(folder, f) }
				if matches(guard.path, path) && !slices.ContainsFunc(guard.folders, mine) {
					t.Errorf("%s imports %s: %s", folder, path, guard.reason)
				}
			}
		}
	}
}

// layerOf finds the row with the longest folder that holds the package.
func layerOf(folder string) (best layer, found bool) {
	for _, row := range layers {
		if within(folder, row.folder) && (!found || len(row.folder) > len(best.folder)) {
			best, found = row, true
		}
	}
	return best, found
}

func (l layer) allows(path string) bool {
	if folder, own := strings.CutPrefix(path, module); own {
		path = folder
		if mine, _ := layerOf(folder); mine.folder == l.folder {
			return true
		}
	} else if first, _, _ := strings.Cut(path, "/"); !strings.Contains(first, ".") {
		return true // the standard library
	}
	return slices.ContainsFunc(l.imports, func(allowed string) bool { return matches(allowed, path) })
}

// matches compares an import path with a row's entry, which may end in "/...".
func matches(entry, path string) bool {
	if parent, all := strings.CutSuffix(entry, "/..."); all {
		return within(path, parent)
	}
	return path == entry
}

// within says whether path is the folder or below it.
func within(path, folder string) bool {
	return path == folder || strings.HasPrefix(path, folder+"/")
}

// TestRulesBite shows that the tables refuse what they are there to refuse.
func TestRulesBite(t *testing.T) {
	cases := []struct {
		folder, path string
		want         bool
	}{
		{"kms", "encoding/json", true},
		{"kms", module + "ops", false},
		{"kms/gen", module + "kms", true},
		{"sigv4", "golang.org/x/crypto/hkdf", false},
		{"ops", module + "hsm", true},
		{"ops", module + "hsm/hsmtest", false},
		{"ops", module + "api", false},
		{"ops", "github.com/miekg/pkcs11", false},
		{"keystore", module + "keystore/boltengine", false},
		{"keystore", "go.etcd.io/bbolt", false},
		{"keystore/boltengine", "go.etcd.io/bbolt", true},
		{"cmd/kms11", module + "keystore/boltengine", true},
		{"integration", module + "ops", false},
		{"integration/clients", module + "integration/kms11test", true},
	}
	for _, c := range cases {
		rules, _ := layerOf(c.folder)
		if got := rules.allows(c.path); got != c.want {
			t.Errorf("%s may import %s: %v, want %v", c.folder, c.path, got, c.want)
		}
	}
}
