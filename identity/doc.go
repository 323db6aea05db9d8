// Package identity reads users and roles from a directory of YAML or JSON files, and notices when the
// directory changes. It reads and reports; what makes a good user or role is for package ops to say.
package identity
