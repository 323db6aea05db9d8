package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// paths are the files of a data directory. The first three are stable: scripts rely on them.
type paths struct {
	keystore    string // the store
	adminEnv    string // the administrator's access key and the endpoint, for a shell to source
	adminSocket string // administration of the running server
	token       string // kms11's own SoftHSM2 token: configuration and objects
	tokenConf   string
	tokenDir    string
	userPIN     string
	soPIN       string
	audit       string // the audit trail, unless another directory is configured
	unfinished  string // stands while token and keystore are being made
}

// pathsOf gives the files of a data directory, which need not exist.
func pathsOf(data string) (paths, error) {
	dir, err := filepath.Abs(data)
	if err != nil {
		return paths{}, err
	}
	in := func(name ...string) string { return filepath.Join(append([]string{dir}, name...)...) }
	return paths{
		keystore:    in("keystore.db"),
		adminEnv:    in("admin.env"),
		adminSocket: in("admin.sock"),
		token:       in("token"),
		tokenConf:   in("token", "softhsm2.conf"),
		tokenDir:    in("token", "objects"),
		userPIN:     in("token", "user.pin"),
		soPIN:       in("token", "so.pin"),
		audit:       in("audit"),
		unfinished:  in("unfinished"),
	}, nil
}

func exists(path string) (bool, error) {
	_, err := os.Lstat(path)
	if os.IsNotExist(err) {
		return false, nil
	}
	return err == nil, err
}

func errExtraArgument(argument string) error {
	return fmt.Errorf("unexpected argument %q", argument)
}
