package hsm

import "time"

// TokenState is what this process knows of a token without asking it.
type TokenState struct {
	URI string `json:"uri"` // by URI.WithoutPIN
	Up  bool   `json:"up"`
	// Cause is why the token is down; empty while it is up.
	Cause string `json:"cause,omitempty"`
	// Since is when it went down, or when it was last logged in to after that.
	Since    time.Time `json:"since,omitzero"`
	Sessions int       `json:"sessions"` // that the present login holds
	Handles  int       `json:"handles"`  // cached session objects
	// Hanging is how many calls to the token are past their limit and have not returned.
	Hanging int `json:"hanging"`
	// Library is the token's library, which it may share with others.
	Library LibraryState `json:"library"`
}

// LibraryState is how a PKCS #11 library is. Tokens in the same library have the same.
type LibraryState struct {
	Path string `json:"path"`
	// Leaked is how many bytes the library has lost, by what is known of it, since it was initialised.
	Leaked int64 `json:"leaked"`
	// Restarts is how often it was initialised again in this process.
	Restarts uint64 `json:"restarts"`
}

// State tells how the token is. It makes no call into the library and takes no lock that a call may
// hold, so it answers at once whatever the token does. What it says is as old as the last call to the
// token: a health check brings it up to date.
func (t *Token) State() TokenState {
	state := TokenState{
		URI:     t.config.URI.WithoutPIN(),
		Since:   time.Unix(0, t.changed.Load()).UTC(),
		Hanging: int(t.hanging.Load()),
		Library: LibraryState{Path: t.module.path, Leaked: t.module.leak.bytes.Load(), Restarts: t.module.restarts.Load()},
	}
	c := t.conn.Load()
	if c == nil {
		if cause := t.cause.Load(); cause != nil {
			state.Cause = (*cause).Error()
		}
		return state
	}
	state.Up, state.Sessions = true, len(c.all)
	c.loaded.Range(func(_, tenant any) bool {
		if holder, ok := tenant.(interface{ handles() int }); ok {
			state.Handles += holder.handles()
		}
		return true
	})
	return state
}

// WithoutPIN writes the URI without a PIN and without saying where it is.
func (u URI) WithoutPIN() string {
	u.PINSource = ""
	return u.String()
}

// turned notes that the token went down or came up just now.
func (t *Token) turned() { t.changed.Store(time.Now().UnixNano()) }

// handles is the number of cached session objects. It is part of a domain's objects and of a vault's.
func (r *keyring) handles() int { return r.cache.size() }

// Tokens tells how each of the domain's tokens is.
func (d *Domain) Tokens() []TokenState {
	var all []TokenState
	for _, m := range d.members() {
		all = append(all, m.token.State())
	}
	return all
}

// Token tells how the vault's token is.
func (v *Vault) Token() TokenState { return v.token.State() }

// Tokens tells how each of the tokens is that a domain does not hold.
func (o *ObjectTokens) Tokens(beside *Domain) []TokenState {
	var all []TokenState
	for _, t := range o.tokens {
		if !beside.holds(t) {
			all = append(all, t.State())
		}
	}
	return all
}
