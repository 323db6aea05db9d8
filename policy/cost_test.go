package policy

import (
	"math/rand/v2"
	"strings"
	"testing"
)

type costlyCase struct {
	name       string
	conditions string
	attributes Fixed
	tooCostly  bool
}

// costly are policies of the largest size with the requests that make them take the most steps.
func costly() []costlyCase {
	const size = 32 << 10 // of a key policy, at most
	list := func(value string) string {
		return `["` + strings.Repeat(value+`","`, size/(len(value)+3)-1) + value + `"]`
	}
	one := func(value string) Fixed { return Fixed{"kms:k": {value}} }
	many := make([]string, 100_000)
	for i := range many {
		many[i] = "a b"
	}
	nearly := make([]string, 10_000)
	for i := range nearly {
		nearly[i] = strings.Repeat("a", 99) + "b"
	}
	long := strings.Repeat("a", 8<<10)
	return []costlyCase{
		{"short runs", `{"StringLike":{"kms:k":` + list("*ab*") + `}}`, one(long), false},
		{"ends", `{"StringLike":{"kms:k":` + list("*b") + `}}`, one(long), false},
		{"letters", `{"StringLike":{"kms:k":` + list("*a*a*a*a*a*ab") + `}}`, one(long), false},
		{"half", `{"StringLike":{"kms:k":` + list("*"+strings.Repeat("a", 4<<10)+"b*") + `}}`, one(long), false},
		{"one long run", `{"StringLike":{"kms:k":"*` + strings.Repeat("a", 4<<10) + `b*"}}`, one(long), false},
		{"any one", `{"StringLike":{"kms:k":` + list("*a?a?a?a?a?a?a?a?ab*") + `}}`, one(long), true},
		{"any one, a megabyte", `{"StringLike":{"kms:k":` + list("*a?b*") + `}}`, one(strings.Repeat("a", 1<<20)), true},
		{"a megabyte", `{"StringLike":{"kms:k":` + list("*ab*") + `}}`, one(strings.Repeat("a", 1<<20)), true},
		{"variables", `{"StringLike":{"kms:k":` + list("${kms:k}b*") + `}}`, one(long), false},
		{"variables in one text", `{"StringLike":{"kms:k":"` + strings.Repeat("${kms:k}", size/8) + `"}}`, one(long), false},
		{"folded", `{"StringEqualsIgnoreCase":{"kms:k":` + list(strings.Repeat("a", 1000)) + `}}`, one(long), false},
		{"many values", `{"ForAnyValue:StringEquals":{"kms:k":` + list("x") + `}}`, Fixed{"kms:k": many}, true},
		{"many values, runs", `{"ForAnyValue:StringLike":{"kms:k":` + list("*x*") + `}}`, Fixed{"kms:k": many}, true},
		{"many values that nearly fit", `{"ForAnyValue:StringLike":{"kms:k":` + list(strings.Repeat("a", 100)) + `}}`, Fixed{"kms:k": nearly}, true},
		{"many ARNs", `{"ForAnyValue:ArnLike":{"kms:k":` + list("arn:*:*:*:*:x") + `}}`, Fixed{"kms:k": many}, true},
		{"many dates", `{"ForAnyValue:DateEquals":{"kms:k":` + list("0") + `}}`, Fixed{"kms:k": many}, true},
		{"many numbers", `{"ForAnyValue:NumericEquals":{"kms:k":` + list("0") + `}}`, Fixed{"kms:k": many}, true},
		{"many addresses", `{"ForAnyValue:IpAddress":{"kms:k":` + list("::") + `}}`, Fixed{"kms:k": many}, true},
		{"long binary", `{"BinaryEquals":{"kms:k":` + list("AA==") + `}}`, one(long), false},
	}
}

func (c *costlyCase) question(t testing.TB) (*Request, Policies) {
	d := mustParse(t, oneStatement(`"Effect":"Allow","Action":"*","Resource":"*","Condition":`+c.conditions))
	r := benchRequest()
	r.Attributes = c.attributes
	return r, Policies{Identity: []*Document{d}}
}

// BenchmarkCostly is what the most costly decisions cost.
func BenchmarkCostly(b *testing.B) {
	for _, c := range costly() {
		b.Run(c.name, func(b *testing.B) {
			r, p := c.question(b)
			for b.Loop() {
				Evaluate(r, p)
			}
		})
	}
}

// TestWorkIsBounded: a decision ends soon after it has cost what it may, and then allows nothing; one
// whose texts have no ? between two runs does not come near it.
func TestWorkIsBounded(t *testing.T) {
	for _, c := range costly() {
		r, p := c.question(t)
		effect := Evaluate(r, p).Effect
		if (effect == TooCostly) != c.tooCostly || (effect == NoIdentityAllow) == c.tooCostly {
			t.Errorf("%s: effect %d after %d steps", c.name, effect, r.spent)
		}
		// What is begun when the bound is reached may be one value of the largest size.
		if r.spent > maxWork+maxWork/8 {
			t.Errorf("%s: %d steps, %d are allowed", c.name, r.spent, maxWork)
		}
		allowing := mustParse(t, oneStatement(`"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"`))
		p.Identity = append(p.Identity, allowing)
		p.Resource = allowing
		if got := Evaluate(r, p).Effect; (got == TooCostly) != c.tooCostly || (got == Allowed) == c.tooCostly {
			t.Errorf("%s: with an allow beside it, effect %d", c.name, got)
		}
		if Acts(r, alice, p) != true { // by name: nothing is evaluated
			t.Errorf("%s: alice does not act as alice", c.name)
		}
		if got := Acts(r, "arn:aws:iam::"+account+":root", p); got == c.tooCostly {
			t.Errorf("%s: alice acts as her account: %v", c.name, got)
		}
		if steps := Explain(r, p); (steps[1].Why == "it would take too much work to evaluate") != c.tooCostly {
			t.Errorf("%s: explained as %.100q", c.name, steps[1].Why)
		}
	}
	// The next decision has its own bound.
	r := benchRequest()
	r.spent = maxWork + 1
	if got := Evaluate(r, Policies{Resource: mustParse(t, delegating), Identity: []*Document{mustParse(t, benchIdentity)}}).Effect; got != Allowed {
		t.Errorf("after a costly decision: effect %d", got)
	}
}

// TestMatchesAsDefined holds the matcher to the definition of wildcards on texts that nearly fit: of two
// letters, with runs longer than what is looked for first.
func TestMatchesAsDefined(t *testing.T) {
	r := randomly{rand.New(rand.NewPCG(7, 8))}
	some := func(most int, of ...string) string {
		var text strings.Builder
		for range r.IntN(most + 1) {
			text.WriteString(pick(r, of...))
		}
		return text.String()
	}
	fitting := 0
	for range 20_000 {
		long := strings.Repeat(pick(r, "a", "ab", "é"), r.IntN(40))
		pattern := some(4, "a", "b", "?", "*", "é", "*"+long+"*", long+"b*")
		name := some(6, "a", "b", "é", long, long+"b", long+"a")
		fold := r.IntN(2) == 0
		want := defined([]rune(pattern), []rune(name), fold)
		if want {
			fitting++
		}
		if got := matches(compilePattern(pattern, true), name, fold, new(work)); got != want {
			t.Fatalf("matches(%q, %q, %v) = %v", pattern, name, fold, got)
		}
	}
	if fitting < 1000 {
		t.Errorf("only %d names fit", fitting)
	}
}
