package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/kms11/kms11/durable"
	"github.com/kms11/kms11/ops"
)

// adminEnv is the content of admin.env: what a shell sources to use the server as administrator.
type adminEnv struct {
	accessKey ops.AccessKey
	region    string
	endpoint  string
}

func writeAdminEnv(path string, e adminEnv) error {
	return durable.WriteFile(path, []byte(fmt.Sprintf(`# kms11 administrator. Source this file: . %s
# An AWS_PROFILE that is set stands in the way: unset it.
export AWS_SESSION_TOKEN=
export AWS_ACCESS_KEY_ID=%s
export AWS_SECRET_ACCESS_KEY=%s
export AWS_REGION=%s
export AWS_DEFAULT_REGION=%s
export AWS_ENDPOINT_URL_KMS=%s
export AWS_ENDPOINT_URL_STS=%s
`, shellQuote(path), e.accessKey.ID, e.accessKey.Secret, e.region, e.region, e.endpoint, e.endpoint)))
}

// updateAdminEnv sets Region and endpoint in admin.env and leaves the rest. Where the file has
// been taken away, it stays away.
func updateAdminEnv(path, region, endpoint string) error {
	text, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	updated := string(text)
	for name, value := range map[string]string{
		"AWS_REGION": region, "AWS_DEFAULT_REGION": region, "AWS_ENDPOINT_URL_KMS": endpoint, "AWS_ENDPOINT_URL_STS": endpoint,
	} {
		line := regexp.MustCompile(`(?m)^export ` + name + `=.*$`)
		updated = line.ReplaceAllLiteralString(updated, "export "+name+"="+value)
	}
	if updated == string(text) {
		return nil
	}
	return durable.WriteFile(path, []byte(updated))
}

func shellQuote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
