package keystore

import "testing"

// TestGoneEntries: an entry says that it is gone whichever way it leaves the cache, or never entered.
func TestGoneEntries(t *testing.T) {
	place := []byte("a")
	for name, leave := range map[string]func(*cache){
		"invalidated": func(c *cache) { c.invalidate(place) },
		"reset":       func(c *cache) { c.reset(true) },
		"turned off":  func(c *cache) { c.reset(false) },
		"replaced":    func(c *cache) { c.put(c.ticket(place), "a", &entry{}) },
		"evicted": func(c *cache) {
			c.put(c.ticket([]byte("b")), "b", &entry{})
			c.put(c.ticket([]byte("c")), "c", &entry{})
			c.put(c.ticket([]byte("d")), "d", &entry{})
		},
	} {
		c, e := newCache(2), &entry{}
		c.reset(true)
		c.put(c.ticket(place), "a", e)
		if got, ok := c.get(place); !ok || got != e || e.gone.Load() {
			t.Fatalf("%s: not even there: %v", name, got)
		}
		leave(c)
		if got, _ := c.get(place); got != e && !e.gone.Load() {
			t.Errorf("%s: it does not say that it is gone", name)
		} else if got == e && e.gone.Load() {
			t.Errorf("%s: it says that it is gone and is there", name)
		}
	}
	for name, c := range map[string]*cache{"off": newCache(2), "without room": newCache(-1)} {
		c.reset(name != "off")
		e := &entry{}
		if c.put(c.ticket(place), "a", e); !e.gone.Load() {
			t.Errorf("%s: what the cache does not take says that it is there", name)
		}
	}
	c, e := newCache(2), &entry{}
	c.reset(true)
	late := c.ticket(place)
	c.invalidate(place)
	if c.put(late, "a", e); !e.gone.Load() {
		t.Error("what was read before a write says that it is there")
	}
}
