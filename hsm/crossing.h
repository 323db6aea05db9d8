// The calls into a PKCS#11 library that go past the binding: see crossing.go.

#ifndef KMS11_CROSSING_H
#define KMS11_CROSSING_H

typedef unsigned char CK_BYTE;
typedef unsigned long CK_ULONG;

// A loaded library. It does not change, so threads may share it.
typedef struct kms11_library kms11_library;

// How a call ended.
typedef struct {
	CK_ULONG rv;     // the CKR value
	CK_ULONG result; // the answer's length in bytes, or a handle
	int begun;       // C_...Init went well, so rv is that of the function after it
} kms11_outcome;

// The operations of kms11_run: C_...Init and the function that does a whole message.
enum { KMS11_ENCRYPT, KMS11_DECRYPT, KMS11_SIGN, KMS11_OPERATIONS };

// kms11_open loads the library at path. It gives NULL on failure, with the reason in why, a
// string of at most whySize bytes with its NUL.
kms11_library *kms11_open(const char *path, char *why, CK_ULONG whySize);
void kms11_close(kms11_library *library);

// kms11_run does a whole message. parameter is the mechanism's C structure, aligned as such; in
// may be NULL if it is empty; out has at least 1 byte. With CKR_BUFFER_TOO_SMALL, result is the
// size of a buffer to try next, or 0 if there is none to try. In every case the operation is over
// when the call returns, and no pointer is kept.
kms11_outcome kms11_run(kms11_library *library, int operation, CK_ULONG session,
	CK_ULONG mechanism, CK_BYTE *parameter, CK_ULONG parameterSize, CK_ULONG key,
	CK_BYTE *in, CK_ULONG inSize, CK_BYTE *out, CK_ULONG outSize);

// kms11_gcm is kms11_run with CKM_AES_GCM. A token that makes its own IV writes it to iv.
kms11_outcome kms11_gcm(kms11_library *library, int operation, CK_ULONG session,
	CK_BYTE *iv, CK_ULONG ivSize, CK_BYTE *aad, CK_ULONG aadSize, CK_ULONG tagBits, CK_ULONG key,
	CK_BYTE *in, CK_ULONG inSize, CK_BYTE *out, CK_ULONG outSize);

kms11_outcome kms11_verify(kms11_library *library, CK_ULONG session,
	CK_ULONG mechanism, CK_BYTE *parameter, CK_ULONG parameterSize, CK_ULONG key,
	CK_BYTE *data, CK_ULONG dataSize, CK_BYTE *signature, CK_ULONG signatureSize);

// kms11_wrap calls C_WrapKey. CKR_BUFFER_TOO_SMALL is as with kms11_run.
kms11_outcome kms11_wrap(kms11_library *library, CK_ULONG session,
	CK_ULONG mechanism, CK_BYTE *parameter, CK_ULONG parameterSize, CK_ULONG wrapping, CK_ULONG key,
	CK_BYTE *out, CK_ULONG outSize);

// kms11_create calls C_CreateObject; result is the handle. list is count of CK_ATTRIBUTE.
kms11_outcome kms11_create(kms11_library *library, CK_ULONG session, CK_ULONG *list, CK_ULONG count);

// kms11_encapsulate calls C_EncapsulateKey: the ciphertext goes to out, at least 1 byte long, and
// secret is the new key's handle; result is the ciphertext's length. kms11_decapsulate calls
// C_DecapsulateKey; result is the handle. A library older than PKCS#11 3.2 gives
// CKR_FUNCTION_NOT_SUPPORTED. list is count of CK_ATTRIBUTE.
kms11_outcome kms11_encapsulate(kms11_library *library, CK_ULONG session, CK_ULONG mechanism, CK_ULONG key,
	CK_ULONG *list, CK_ULONG count, CK_BYTE *out, CK_ULONG outSize, CK_ULONG *secret);
kms11_outcome kms11_decapsulate(kms11_library *library, CK_ULONG session, CK_ULONG mechanism, CK_ULONG key,
	CK_ULONG *list, CK_ULONG count, CK_BYTE *in, CK_ULONG inSize);

// kms11_attributes calls C_GetAttributeValue, which writes to list, count of CK_ATTRIBUTE.
CK_ULONG kms11_attributes(kms11_library *library, CK_ULONG session, CK_ULONG object, CK_ULONG *list, CK_ULONG count);

CK_ULONG kms11_random(kms11_library *library, CK_ULONG session, CK_BYTE *out, CK_ULONG size);
CK_ULONG kms11_login(kms11_library *library, CK_ULONG session, CK_ULONG user, CK_BYTE *pin, CK_ULONG size);

#endif
