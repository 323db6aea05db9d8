// Package sigv4 verifies and makes AWS Signature Version 4 signatures that travel in the
// Authorization header of a request. It uses only the standard library and knows nothing of KMS:
// the KMS endpoint, the XKS proxy and the STS endpoint each make a [Verifier] for their service.
//
// The source is "Create a signed AWS API request" in the IAM User Guide, and the header form of
// it as every AWS SDK sends it. Presigned URLs (the signature in the query string), chunked
// payload signatures and UNSIGNED-PAYLOAD are refused: no KMS or XKS client uses them, and each
// would leave the body outside the signature.
//
// # What has to be signed
//
// AWS's guide asks for Host and every X-Amz-* header, its services are more lenient, and some
// proxies add X-Amz-* headers of their own on the way. The rule here is that nothing the server
// acts on may be outside the signature:
//
//   - Host must be in SignedHeaders (or :authority, as HTTP/2 clients name it).
//   - X-Amz-Target, which names the operation, must be there when it is present, and so must
//     X-Amz-Source-Arn and X-Amz-Source-Account, by which a service says for whom it acts.
//   - X-Amz-Date and Date are part of the string to sign, signed as headers or not.
//   - X-Amz-Security-Token is compared with the credential's own, signed or not.
//   - X-Amz-Content-Sha256 is compared with the body's hash, signed or not.
//   - The body is always hashed into the signature.
//
// Any other header may be signed or not. A server that starts to act on one has to add it to
// mustBeSigned.
//
// # Canonical form
//
// Paths are normalised (dot segments and repeated slashes go) and then encoded once more on top
// of the form on the wire, which is the rule of every service but S3. Query parameters are
// decoded, encoded and sorted. Header values are trimmed, runs of spaces become one, and several
// values of one header are joined by commas in the order of arrival. A server that rewrites
// r.Header, r.Host or r.RequestURI before it calls [Verifier.Verify] breaks the signature.
package sigv4
