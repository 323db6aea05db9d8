package xks

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kms11/kms11/ops"
)

const (
	// healthStands is how long the result of a health check is taken for the present one.
	healthStands = time.Second
	// healthKept is how old a result may be where a new check takes too long: the specification
	// allows one minute.
	healthKept = 50 * time.Second
	// healthBound ends a check whose token does not come back.
	healthBound = 10 * time.Second
	// slowToken is the time of a check from which a token is DEGRADED: a request under the same
	// conditions would hardly be answered within AWS KMS's 250 ms.
	slowToken = 200 * time.Millisecond
)

// healthCheck keeps the result of the last check of the tokens. However many ask, one check runs at
// a time, and at most one for each healthStands.
type healthCheck struct {
	fleet   func(context.Context) []ops.TokenHealth
	version string
	size    int

	mu      sync.Mutex
	last    time.Time // of the result
	result  []ops.TokenHealth
	running chan struct{} // closed when the check that runs has ended; nil: none runs
}

// state gives the tokens' health, of a new check if the last one is too old. It waits for that
// until ctx ends, and then takes a result of the last healthKept if there is one.
func (c *healthCheck) state(ctx context.Context) ([]ops.TokenHealth, error) {
	c.mu.Lock()
	if !c.last.IsZero() && time.Since(c.last) < healthStands {
		defer c.mu.Unlock()
		return c.result, nil
	}
	if c.running == nil {
		c.running = make(chan struct{})
		go c.check(context.WithoutCancel(ctx), c.running)
	}
	running := c.running
	c.mu.Unlock()
	var err error
	select {
	case <-running:
	case <-ctx.Done():
		err = ctx.Err()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil && (c.last.IsZero() || time.Since(c.last) > healthKept) {
		return nil, err
	}
	return c.result, nil
}

func (c *healthCheck) check(ctx context.Context, running chan struct{}) {
	ctx, cancel := context.WithTimeout(ctx, healthBound)
	defer cancel()
	result := c.fleet(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.result, c.last, c.running = result, time.Now(), nil
	close(running)
}

// statusOf is a token's healthStatus.
func statusOf(h *ops.TokenHealth) string {
	switch {
	case h.Err != nil:
		return StatusUnavail
	case h.Took >= slowToken:
		return StatusDegraded
	}
	return StatusActive
}

// answer is GetHealthStatus. Where no token is of use it is an error, since a success says that
// operations will succeed.
func (c *healthCheck) answer(ctx context.Context) ([]byte, error) {
	tokens, err := c.state(ctx)
	if err != nil {
		return nil, err
	}
	answer := HealthResponse{FleetSize: c.size, Vendor: "kms11", Model: "kms11 XKS proxy " + c.version}
	var vendors []string
	for i := range tokens {
		t := &tokens[i]
		if !slices.Contains(vendors, t.Manufacturer) {
			vendors = append(vendors, t.Manufacturer)
		}
		answer.EKMFleet = append(answer.EKMFleet, EKMDetails{ID: t.Serial, Model: t.Model, Health: statusOf(t)})
	}
	if !serves(tokens) {
		return nil, failure(InternalException, "No key manager answers.")
	}
	// Ten at most are told of: those that are not well before others.
	slices.SortStableFunc(answer.EKMFleet, func(a, b EKMDetails) int { return -strings.Compare(a.Health, b.Health) })
	answer.EKMFleet = answer.EKMFleet[:min(len(answer.EKMFleet), MaxFleetDetails)]
	answer.EKMVendor = strings.Join(vendors, ", ")
	return json.Marshal(answer)
}

// serves says whether one of the tokens is of use.
func serves(tokens []ops.TokenHealth) bool {
	return slices.ContainsFunc(tokens, func(t ops.TokenHealth) bool { return t.Err == nil })
}

// ServeHealth answers load balancers: 200 while a token is of use, else 503.
func (h *Handler) ServeHealth(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), healthBound)
	defer cancel()
	status, text := http.StatusOK, "ok\n"
	tokens, err := h.health.state(ctx)
	if err != nil || !serves(tokens) {
		status, text = http.StatusServiceUnavailable, "unavailable\n"
		for _, t := range tokens {
			if t.Err != nil {
				h.log.Warn("unhealthy", "token", t.Serial, "error", t.Err)
			}
		}
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text) // a client that has gone does not concern the server
}
