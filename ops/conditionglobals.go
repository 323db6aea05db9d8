package ops

import (
	"strconv"
	"strings"
	"time"

	"github.com/kms11/kms11/policy"
)

// This file computes the condition keys that are about who asks, and how.

func (q *question) principal() *policy.Principal { return &q.Request.Principal }

func callerAccount(q *question, _ string) policy.Values { return policy.OneOf(q.principal().Account) }

func resourceAccount(q *question, _ string) policy.Values { return policy.OneOf(q.Owner) }

// principalARNOf is the ARN of the role for a session of a role. A service has none.
func principalARNOf(q *question, _ string) policy.Values {
	switch who := q.principal(); {
	case who.Service != "":
		return policy.Values{}
	case who.Role != "":
		return policy.One(who.Role)
	default:
		return policy.OneOf(who.ARN)
	}
}

func fromService(q *question, _ string) policy.Values { return boolValue(q.principal().Service != "") }

func principalService(q *question, _ string) policy.Values {
	return policy.OneOf(q.principal().Service)
}

func principalServices(q *question, _ string) policy.Values {
	if name := q.principal().Service; name != "" {
		return policy.Many([]string{name})
	}
	return policy.Values{}
}

func principalTag(q *question, part string) policy.Values {
	tags := q.principal().Tags
	if len(tags) == 0 {
		return policy.Values{}
	}
	return foldedValue(part, tags, eachPair)
}

func principalType(q *question, _ string) policy.Values {
	switch who := q.principal(); {
	case who.Service != "":
		return policy.Values{}
	case who.IsRoot():
		return policy.One("Account")
	case strings.Contains(who.ARN, ":assumed-role/"):
		return policy.One("AssumedRole")
	case strings.Contains(who.ARN, ":federated-user/"):
		return policy.One("FederatedUser")
	}
	return policy.One("User")
}

func userID(q *question, _ string) policy.Values {
	who := q.principal()
	if who.ID == "" && who.IsRoot() {
		return policy.OneOf(who.Account)
	}
	return policy.OneOf(who.ID)
}

// userName is the name of a user, without its path. Nobody else has one.
func userName(q *question, _ string) policy.Values {
	_, name, user := strings.Cut(q.principal().ARN, ":user/")
	if !user {
		return policy.Values{}
	}
	return policy.OneOf(name[strings.LastIndexByte(name, '/')+1:])
}

func sourceARN(q *question, _ string) policy.Values {
	arn, _ := q.call.source()
	return policy.OneOf(arn)
}

func sourceAccount(q *question, _ string) policy.Values {
	_, account := q.call.source()
	return policy.OneOf(account)
}

// viaService is the name of the service that asks with the Region in it: s3.us-east-1.amazonaws.com.
func viaService(q *question, _ string) policy.Values {
	if q.call.Via.Principal != "" {
		return policy.OneOf(q.call.Via.Service(q.call.Region))
	}
	name, domain, found := strings.Cut(q.principal().Service, ".")
	if !found {
		return policy.Values{}
	}
	return policy.One(name + "." + q.call.Region + "." + domain)
}

func currentTime(q *question, _ string) policy.Values {
	return policy.One(q.service.now().UTC().Format(time.RFC3339))
}

func epochTime(q *question, _ string) policy.Values {
	return policy.One(strconv.FormatInt(q.service.now().Unix(), 10))
}

func requestedRegion(q *question, _ string) policy.Values { return policy.OneOf(q.call.Region) }

func secureTransport(q *question, _ string) policy.Values {
	if _, madeUp := q.input.(*hypothetical); madeUp {
		return policy.Values{}
	}
	return boolValue(q.call.Origin.Secure)
}

func sourceIP(q *question, _ string) policy.Values { return policy.OneOf(q.call.Origin.SourceIP) }

func userAgent(q *question, _ string) policy.Values { return policy.OneOf(q.call.Origin.UserAgent) }
