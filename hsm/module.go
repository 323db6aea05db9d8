package hsm

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/miekg/pkcs11"
)

// A module is one PKCS#11 library, loaded and initialised once in this process.
type module struct {
	path     string
	init     string // for C_Initialize; empty is nothing
	ctx      *pkcs11.Ctx
	crossing crossing
	// foreign says that someone else in this process had called C_Initialize, so that
	// C_Finalize is not ours to call.
	foreign bool
	gate    gate
	// incarnation counts calls of C_Initialize. Handles of an earlier one mean nothing, or
	// something else. Written with the gate shut.
	incarnation uint64
	hanging     atomic.Int32 // calls that are past their limit
	restarts    atomic.Uint64
	leak        leak

	mu     sync.Mutex
	tokens map[*Token]struct{}
	refs   int // guarded by modules.mu
}

// modules holds the libraries of this process. PKCS#11 makes C_Initialize an act of the whole
// process, so this cannot belong to anything smaller.
var modules struct {
	mu     sync.Mutex
	byPath map[string]*module
}

// loadModule loads and initialises the library at path, or takes another reference to it. init is
// the library's own parameter of C_Initialize; since that is called once, every token of the library
// has to name the same. Each success needs one release.
func loadModule(path, init string) (*module, error) {
	if !strings.Contains(path, "/") {
		return nil, fmt.Errorf(`PKCS#11 module path %q must contain "/"`, path)
	}
	resolved, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, fmt.Errorf("PKCS#11 module: %w", err)
	}
	if resolved, err = filepath.Abs(resolved); err != nil {
		return nil, fmt.Errorf("PKCS#11 module: %w", err)
	}
	modules.mu.Lock()
	defer modules.mu.Unlock()
	if m := modules.byPath[resolved]; m != nil {
		if m.init != init {
			return nil, fmt.Errorf("PKCS#11 module %s is in use with another x-kms11-init", resolved)
		}
		m.refs++
		return m, nil
	}
	crossing, err := openCrossing(resolved)
	if err != nil {
		return nil, fmt.Errorf("PKCS#11 module %s cannot be loaded: %w", resolved, err)
	}
	ctx := pkcs11.New(resolved)
	if ctx == nil {
		crossing.close()
		return nil, fmt.Errorf("PKCS#11 module %s cannot be loaded a second time", resolved)
	}
	m := &module{path: resolved, init: init, ctx: ctx, crossing: crossing, refs: 1, tokens: map[*Token]struct{}{}}
	if err := m.initialise(); err != nil {
		m.unload()
		return nil, fmt.Errorf("PKCS#11 module %s: %w", resolved, err)
	}
	if modules.byPath == nil {
		modules.byPath = map[string]*module{}
	}
	modules.byPath[resolved] = m
	return m, nil
}

func (m *module) initialise() error {
	reserved, free := reservedArgument(m.init)
	defer free()
	err := m.ctx.Initialize(pkcs11.InitializeWithReserved(reserved)) // with CKF_OS_LOCKING_OK
	m.foreign = errors.Is(err, pkcs11.Error(pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED))
	if err != nil && !m.foreign {
		return moduleError("C_Initialize", err)
	}
	m.incarnation++
	return nil
}

// release gives one reference back. The last one ends the library.
func (m *module) release() error {
	modules.mu.Lock()
	defer modules.mu.Unlock()
	if m.refs--; m.refs > 0 {
		return nil
	}
	delete(modules.byPath, m.path)
	defer m.unload()
	if m.foreign {
		return nil
	}
	return moduleError("C_Finalize", m.ctx.Finalize())
}

func (m *module) unload() {
	m.ctx.Destroy()
	m.crossing.close()
}

// moduleError gives err, which the binding returned, its name where no session is involved.
func moduleError(function string, err error) error {
	var code pkcs11.Error
	if !errors.As(err, &code) {
		return err
	}
	return &Error{Function: function, Code: uint(code), class: ckrClasses[uint(code)]}
}

// others says whether a token other than t uses the module and is up.
func (m *module) others(t *Token) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for other := range m.tokens {
		if other != t && other.up() {
			return true
		}
	}
	return false
}

// reinitialise calls C_Finalize and C_Initialize with no call in flight, then connects every
// token of the module again. A call that arrives meanwhile waits at the gate. The error is that
// of the library; a token that does not come back is marked down on its own.
func (m *module) reinitialise() error {
	if m.foreign {
		return errors.New("the PKCS#11 module was initialised by other code of this process and is not ours to restart")
	}
	if m.hanging.Load() > 0 || !m.gate.shutWithin(gateWait) {
		return errors.New("a call that hangs in the PKCS#11 module keeps it from being restarted")
	}
	defer m.gate.reopen()
	// An error of C_Finalize says that there was nothing to end.
	_ = m.ctx.Finalize()
	m.leak.reset()
	if err := m.initialise(); err != nil {
		return err
	}
	m.restarts.Add(1)
	m.mu.Lock()
	defer m.mu.Unlock()
	for t := range m.tokens {
		t.reconnectShut()
	}
	return nil
}
