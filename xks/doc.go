// Package xks speaks the API of external key store proxies, version 1.0.3: the public AWS KMS
// External Key Store Proxy API Specification (github.com/aws/aws-kms-xksproxy-api-spec), cited
// here as "the specification". A [Handler] is the proxy, to which an AWS KMS or another kms11
// brings its requests; a [Client] is the other side; a [Doctor] checks a proxy against the
// specification.
package xks
