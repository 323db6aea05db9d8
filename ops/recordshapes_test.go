package ops_test

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// shape is the members of a JSON object: whether each is always there, and what it looks like.
type shape map[string]member

type member struct {
	always bool
	check  func(value any) error
}

func (s shape) check(value any) error {
	object, ok := value.(map[string]any)
	if !ok {
		return fmt.Errorf("%T where an object belongs", value)
	}
	for name, m := range s {
		if _, there := object[name]; m.always && !there {
			return fmt.Errorf("%s is missing", name)
		}
	}
	for name, value := range object {
		m, known := s[name]
		if !known {
			return fmt.Errorf("the page does not know the member %s", name)
		}
		if err := m.check(value); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func list(of func(any) error) func(any) error {
	return func(value any) error {
		items, ok := value.([]any)
		if !ok || len(items) == 0 {
			return fmt.Errorf("%v is no list with something in it", value)
		}
		for i, item := range items {
			if err := of(item); err != nil {
				return fmt.Errorf("%d: %w", i, err)
			}
		}
		return nil
	}
}

func textLike(pattern string) func(any) error {
	form := regexp.MustCompile(`^(?:` + pattern + `)$`)
	return func(value any) error {
		if text, ok := value.(string); !ok || !form.MatchString(text) {
			return fmt.Errorf("%v is not like %s", value, pattern)
		}
		return nil
	}
}

func anyText(value any) error {
	if _, ok := value.(string); !ok {
		return fmt.Errorf("%v is no string", value)
	}
	return nil
}

func number(value any) error {
	if n, ok := value.(float64); !ok || n < 1 || n != float64(uint64(n)) {
		return fmt.Errorf("%v is no number from 1", value)
	}
	return nil
}

func isTrue(value any) error {
	if value != true { // false would be left out
		return fmt.Errorf("%v is not true", value)
	}
	return nil
}

func moment(value any) error {
	text, _ := value.(string)
	if _, err := time.Parse(time.RFC3339Nano, text); err != nil || !strings.HasSuffix(text, "Z") {
		return fmt.Errorf("%v is no time in UTC", value)
	}
	return nil
}

func binaryData(value any) error {
	text, _ := value.(string)
	if data, err := base64.StdEncoding.Strict().DecodeString(text); err != nil || len(data) == 0 {
		return fmt.Errorf("%v is no base64 of something", value)
	}
	return nil
}

func anyJSON(any) error { return nil }

var (
	scheme = textLike("ecb|sp800-108|direct")

	domainShape = shape{
		"id":     {true, textLike("[0-9a-f]{32}")},
		"scheme": {true, scheme},
		"keys": {true, list(shape{
			"role":     {true, textLike("domain|record|sealing")},
			"version":  {true, number},
			"objectId": {true, binaryData},
			"check":    {true, binaryData},
		}.check)},
		"transfer": {false, materialShape.check},
	}

	headerShape = shape{
		"storeId": {true, textLike(`[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}`)},
		"created": {true, moment},
		"domain":  {true, domainShape.check},
		"regions": {false, list(shape{"region": {true, anyText}, "created": {true, moment}, "domain": {true, domainShape.check}}.check)},
	}

	materialShape = shape{
		"id": {true, textLike("[0-9a-f]{64}")}, "ordinal": {true, number}, "created": {true, moment},
		"domain": {false, textLike("[0-9a-f]{32}")},
		"scheme": {false, scheme}, "wrap": {false, textLike("RFC3394|RFC5649")}, "domainKey": {false, number},
		"length": {false, number}, "blob": {false, binaryData}, "objectId": {false, binaryData}, "publicKey": {false, binaryData},
		"rotated": {false, moment}, "rotationType": {false, textLike("AUTOMATIC|ON_DEMAND")},
		"description": {false, anyText}, "expirationModel": {false, anyText}, "validTo": {false, moment},
	}

	keyShape = shape{
		"partition": {true, anyText}, "account": {true, anyText}, "region": {true, anyText}, "id": {true, anyText},
		"created": {true, moment}, "description": {false, anyText}, "spec": {true, anyText}, "usage": {true, anyText},
		"origin": {true, anyText}, "manager": {true, anyText}, "state": {true, anyText}, "deletionDate": {false, moment},
		"pendingWindowInDays": {false, number}, "policy": {true, anyText},
		"tags":      {false, list(shape{"key": {true, anyText}, "value": {true, anyText}}.check)},
		"materials": {false, list(materialShape.check)}, "current": {false, number},
		"rotation": {false, shape{"enabled": {false, isTrue}, "periodInDays": {false, number}, "next": {false, moment},
			"onDemand": {false, number}, "onDemandStarted": {false, moment}}.check},
		"multiRegion": {false, shape{"type": {true, textLike("PRIMARY|REPLICA")}, "primaryRegion": {true, anyText},
			"replicaRegions": {false, list(anyText)}}.check},
		"customKeyStoreId": {false, anyText}, "xksKeyId": {false, anyText},
	}

	userShape = shape{"partition": {true, anyText}, "account": {true, anyText}, "name": {true, anyText}, "arn": {true, anyText},
		"created": {true, moment}, "id": {true, textLike("AIDA[A-Z2-7]{17}")}, "policies": {false, anyJSON}, "boundary": {false, anyJSON},
		"tags": {false, anyJSON}, "accessKeys": {false, anyJSON}}

	roleShape = shape{"partition": {true, anyText}, "account": {true, anyText}, "name": {true, anyText}, "arn": {true, anyText},
		"created": {true, moment}, "id": {true, textLike("AROA[A-Z2-7]{17}")}, "description": {false, anyText}, "trust": {true, anyJSON},
		"maxSessionSeconds": {true, anyJSON}, "revoked": {false, moment}, "policies": {false, anyJSON}, "boundary": {false, anyJSON},
		"tags": {false, anyJSON}}

	accessKeyShape = shape{"id": {true, anyText}, "account": {true, anyText}, "principalArn": {true, anyText},
		"sealedSecret": {true, binaryData}, "created": {true, moment}, "disabled": {false, isTrue}}

	dueShape = shape{"due": {true, moment}, "action": {true, textLike("delete-key|rotate-key|destroy-material|delete-grants")},
		"partition": {true, anyText}, "account": {true, anyText}, "region": {true, anyText}, "keyId": {true, anyText},
		"material": {false, materialShape.check}}

	lastUsageShape = shape{"partition": {true, anyText}, "account": {true, anyText}, "region": {true, anyText}, "keyId": {true, anyText},
		"operation": {true, anyText}, "used": {true, moment}, "requestId": {false, anyText}, "eventId": {false, anyText}}

	keyCountShape = shape{"partition": {true, anyText}, "account": {true, anyText}, "region": {true, anyText}, "keys": {true, number}}

	// kinds are the records by the fourth level of their engine keys. levels says which members
	// the levels repeat; a level that does not apply is empty, "=" is an id that dueID makes, and ' begins a level that
	// is always the same.
	kinds = map[string]struct {
		code    byte
		shape   shape
		levels  [5]string
		version uint16 // of the content; 0 is 1
	}{
		"header":     {1, headerShape, [5]string{}, 3},
		"key":        {2, keyShape, [5]string{"partition", "account", "region", "", "id"}, 2},
		"user":       {3, userShape, [5]string{"partition", "account", "", "", "name"}, 2},
		"role":       {15, roleShape, [5]string{"partition", "account", "", "", "name"}, 0},
		"access-key": {4, accessKeyShape, [5]string{"", "", "", "", "id"}, 0},
		"due":        {6, dueShape, [5]string{"", "", "", "", "="}, 2},
		"key-count":  {28, keyCountShape, [5]string{"partition", "account", "region", "", "'all"}, 0},
		"last-usage": {12, lastUsageShape, [5]string{"partition", "account", "region", "", "keyId"}, 2},
	}
)

// dueID is the id that the page gives a due entry.
func dueID(entry map[string]any) string {
	text := func(name string) string { s, _ := entry[name].(string); return s }
	due, _ := time.Parse(time.RFC3339Nano, text("due"))
	parts := []string{due.Format("2006-01-02T15:04:05.000000000Z")}
	for _, name := range []string{"action", "partition", "account", "region", "keyId"} {
		parts = append(parts, text(name))
	}
	if material, ok := entry["material"].(map[string]any); ok {
		parts = append(parts, fmt.Sprint(material["id"]))
	}
	return strings.Join(parts, ",")
}
