package api

import (
	"encoding/xml"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// FuzzSTS sends STS whatever a client could, without credentials. Each answer is XML that says what is
// wrong; nothing makes the server fail.
func FuzzSTS(f *testing.F) {
	const role = "&RoleArn=arn%3Aaws%3Aiam%3A%3A111122223333%3Arole%2Fapp&RoleSessionName=s1"
	for _, form := range []string{
		"Action=GetCallerIdentity&Version=2011-06-15",
		"Action=AssumeRole&Version=2011-06-15" + role + "&Tags.member.1.Key=a&Tags.member.1.Value=b&TransitiveTagKeys.member.1=a&DurationSeconds=900",
		"Action=AssumeRoleWithWebIdentity&Version=2011-06-15" + role + "&WebIdentityToken=a.b.c",
		"Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=%00&RoleSessionName=%FF&WebIdentityToken=%C3%28",
		"Action=<&>&Version=\x00", "%", "&&&", "=", "Tags.member.=1", "Action=AssumeRole&Version=2011-06-15&PolicyArns.member.1.arn=x",
	} {
		f.Add("", form)
		f.Add(form, "")
	}
	s := newSite(f)
	f.Fuzz(func(t *testing.T, urlQuery, form string) {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.URL.RawQuery = urlQuery
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Body = io.NopCloser(strings.NewReader(form))
		w := httptest.NewRecorder()
		s.handler.ServeHTTP(w, r)
		var answer struct {
			XMLName xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ ErrorResponse"`
			Code    string   `xml:"Error>Code"`
		}
		if err := xml.Unmarshal(w.Body.Bytes(), &answer); err != nil || answer.Code == "" {
			t.Errorf("%v in %s", err, w.Body)
		}
		if w.Code != 400 && w.Code != 403 && w.Code != 413 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		// What could be read is read again the same.
		q, err := parseQuery(r, []byte(form))
		if err != nil {
			return
		}
		if _, err := q.assumeRole(); err != nil && !strings.HasPrefix(err.Error(), "MalformedInput") {
			t.Errorf("got %v", err)
		}
		for name, values := range q {
			if len(values) != 1 {
				t.Errorf("%q is there %d times", name, len(values))
			}
		}
	})
}
