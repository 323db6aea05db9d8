package main

import (
	"bytes"
	"strings"
	"testing"
)

// TestUsage holds every command to the promise about mistakes in arguments: exit code 2 and one line
// on standard error that says where to look.
func TestUsage(t *testing.T) {
	for arguments, want := range map[string]string{
		"nothing":                `no command "nothing": see kms11 --help`,
		"help nothing":           `no command "nothing": see kms11 --help`,
		"iam nothing":            `no command "nothing": see kms11 iam --help`,
		"hsm nothing":            `no command "nothing": see kms11 hsm --help`,
		"audit nothing":          `no command "nothing": see kms11 audit --help`,
		"policy nothing":         `no command "nothing": see kms11 policy --help`,
		"xks tenant nothing":     `no command "nothing": see kms11 xks tenant --help`,
		"serve extra":            `unexpected argument "extra"`,
		"version extra":          `unexpected argument "extra"`,
		"serve --nothing":        `flag provided but not defined: -nothing: see kms11 serve --help`,
		"--nothing":              `flag provided but not defined: -nothing: see kms11 --help`,
		"iam --nothing":          `flag provided but not defined: -nothing: see kms11 iam --help`,
		"xks key list --nothing": `flag provided but not defined: -nothing: see kms11 xks key list --help`,
		"audit tail --lines x":   `invalid value "x" for flag -lines: parse error: see kms11 audit tail --help`,
		"hsm init-token --label a --pin-file /nowhere/pin --so-pin-file /nowhere/so.pin": `PIN: open /nowhere/pin: no such file or directory: make one with (umask 077; openssl rand -hex 8 > /nowhere/pin)`,
		"iam create-user":                 `create-user needs --user: see kms11 iam create-user --help`,
		"policy explain":                  `explain needs --principal and --action: see kms11 policy explain --help`,
		"xks tenant create":               `create needs --prefix: see kms11 xks tenant create --help`,
		"xks key create --prefix /a":      `create needs --id: see kms11 xks key create --help`,
		"xks credential create":           `create needs --prefix: see kms11 xks credential create --help`,
		"xks credential enable":           `enable needs --id: see kms11 xks credential enable --help`,
		"xks doctor":                      `doctor needs --url and --credential: see kms11 xks doctor --help`,
		"hsm info --token pkcs11:token=a": `--token: pkcs11:token=a names no PKCS #11 library: add ?module-path=/path/to/library.so`,
		"hsm init-token --label here":     `init-token needs --pin-file and --so-pin-file: see kms11 hsm init-token --help`,
	} {
		var stdout, stderr bytes.Buffer
		code := run(append([]string{"kms11"}, strings.Fields(arguments)...), &stdout, &stderr)
		if code != exitUsage || stdout.Len() > 0 || stderr.String() != "kms11: "+want+"\n" {
			t.Errorf("kms11 %s: exit code %d\nstandard output: %s\nstandard error: %s\nwant exit code 2 and: %s", arguments, code, stdout.String(), stderr.String(), want)
		}
	}
}

// TestGroupsShowHelp: a group without a command is a question, not a mistake.
func TestGroupsShowHelp(t *testing.T) {
	for _, group := range []string{"", "iam", "hsm", "audit", "policy", "xks", "xks tenant", "iam --help", "xks doctor --help"} {
		var stdout, stderr bytes.Buffer
		if code := run(append([]string{"kms11"}, strings.Fields(group)...), &stdout, &stderr); code != 0 || stderr.Len() > 0 || !strings.Contains(stdout.String(), "USAGE:") {
			t.Errorf("kms11 %s: exit code %d, standard error: %s, standard output: %s", group, code, stderr.String(), stdout.String())
		}
	}
}
