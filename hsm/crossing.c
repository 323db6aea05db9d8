#include "cryptoki.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

struct kms11_library {
	void *handle;
	const CK_FUNCTION_LIST *functions;
	const CK_FUNCTION_LIST_3_2 *functions32; // NULL where the library is older
	struct {
		kms11_init *init;
		kms11_message *message;
	} operations[KMS11_OPERATIONS];
};

// Some libraries take NULL for an argument that is missing even where it has no bytes.
static CK_BYTE nothing;

static CK_BYTE *bytes(CK_BYTE *data) { return data ? data : &nothing; }

// functions32 gives the library's functions of PKCS#11 3.2, or NULL.
static const CK_FUNCTION_LIST_3_2 *functions32(void *handle)
{
	kms11_get_interface *get;
	*(void **)&get = dlsym(handle, "C_GetInterface");
	if (!get)
		return NULL;
	CK_VERSION version = {3, 2};
	CK_INTERFACE *found = NULL;
	CK_BYTE name[] = "PKCS 11";
	if (get(name, &version, &found, 0) != CKR_OK || !found || !found->pFunctionList)
		return NULL;
	const CK_FUNCTION_LIST_3_2 *f = found->pFunctionList;
	if (f->base.version.major != 3 || f->base.version.minor < 2 || !f->C_EncapsulateKey || !f->C_DecapsulateKey)
		return NULL;
	return f;
}

static const char *load(kms11_library *library, const char *path)
{
	// What the binding loaded from the same path, once more: the loader counts.
	library->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!library->handle)
		return dlerror();
	// Not "=", since ISO C has no conversion between pointers to data and to functions.
	kms11_get_function_list *get;
	*(void **)&get = dlsym(library->handle, "C_GetFunctionList");
	if (!get)
		return "it has no C_GetFunctionList";
	CK_FUNCTION_LIST *f = NULL;
	if (get(&f) != CKR_OK || !f)
		return "C_GetFunctionList fails";
	if (f->version.major < 2)
		return "it is older than PKCS#11 2.0";
	if (!f->C_Login || !f->C_CreateObject || !f->C_GetAttributeValue || !f->C_EncryptInit || !f->C_Encrypt
		|| !f->C_DecryptInit || !f->C_Decrypt || !f->C_SignInit || !f->C_Sign || !f->C_VerifyInit
		|| !f->C_Verify || !f->C_WrapKey || !f->C_GenerateRandom)
		return "its function list has gaps";
	library->functions = f;
	library->operations[KMS11_ENCRYPT].init = f->C_EncryptInit;
	library->operations[KMS11_ENCRYPT].message = f->C_Encrypt;
	library->operations[KMS11_DECRYPT].init = f->C_DecryptInit;
	library->operations[KMS11_DECRYPT].message = f->C_Decrypt;
	library->operations[KMS11_SIGN].init = f->C_SignInit;
	library->operations[KMS11_SIGN].message = f->C_Sign;
	library->functions32 = functions32(library->handle);
	return NULL;
}

kms11_library *kms11_open(const char *path, char *why, CK_ULONG whySize)
{
	kms11_library *library = calloc(1, sizeof *library);
	const char *problem = library ? load(library, path) : "out of memory";
	if (!problem)
		return library;
	snprintf(why, whySize, "%s", problem);
	kms11_close(library);
	return NULL;
}

void kms11_close(kms11_library *library)
{
	if (library && library->handle)
		dlclose(library->handle);
	free(library);
}

// The largest buffer that a token may ask for, in bytes.
static const CK_ULONG largest = 1 << 20;

// larger gives the size of a buffer to try after one of size bytes was too small for a token that
// asks for want, or 0 to give up. It doubles at least, since some tokens ask for less than they
// need.
static CK_ULONG larger(CK_ULONG size, CK_ULONG want)
{
	if (want > 2 * size && want <= largest)
		return want;
	return size <= largest / 2 ? 2 * size : 0;
}

// A compiler may leave out memset before free.
static void wipe(volatile CK_BYTE *data, CK_ULONG size)
{
	while (size--)
		*data++ = 0;
}

// finish ends an operation that goes on because the buffer was too small, which C_...Init with
// NULL does on few tokens: it takes the answer and throws it away. It gives the size of a buffer
// that is large enough, or 0.
static CK_ULONG finish(kms11_library *library, int operation, CK_ULONG session,
	CK_BYTE *in, CK_ULONG inSize, CK_ULONG size, CK_ULONG want)
{
	while ((size = larger(size, want)) != 0) {
		CK_BYTE *out = malloc(size);
		if (!out)
			break;
		want = size;
		CK_RV rv = library->operations[operation].message(session, in, inSize, out, &want);
		wipe(out, size);
		free(out);
		if (rv != CKR_BUFFER_TOO_SMALL)
			return size;
	}
	library->operations[operation].init(session, NULL, 0);
	return 0;
}

kms11_outcome kms11_run(kms11_library *library, int operation, CK_ULONG session,
	CK_ULONG mechanism, CK_BYTE *parameter, CK_ULONG parameterSize, CK_ULONG key,
	CK_BYTE *in, CK_ULONG inSize, CK_BYTE *out, CK_ULONG outSize)
{
	CK_MECHANISM m = {mechanism, parameter, parameterSize};
	kms11_outcome o = {library->operations[operation].init(session, &m, key), outSize, 0};
	if (o.rv != CKR_OK)
		return o;
	o.begun = 1;
	in = bytes(in);
	o.rv = library->operations[operation].message(session, in, inSize, out, &o.result);
	if (o.rv == CKR_BUFFER_TOO_SMALL)
		o.result = finish(library, operation, session, in, inSize, outSize, o.result);
	return o;
}

kms11_outcome kms11_gcm(kms11_library *library, int operation, CK_ULONG session,
	CK_BYTE *iv, CK_ULONG ivSize, CK_BYTE *aad, CK_ULONG aadSize, CK_ULONG tagBits, CK_ULONG key,
	CK_BYTE *in, CK_ULONG inSize, CK_BYTE *out, CK_ULONG outSize)
{
	CK_GCM_PARAMS p = {iv, ivSize, ivSize * 8, aad, aadSize, tagBits};
	return kms11_run(library, operation, session, CKM_AES_GCM, (CK_BYTE *)&p, sizeof p, key,
		in, inSize, out, outSize);
}

kms11_outcome kms11_verify(kms11_library *library, CK_ULONG session,
	CK_ULONG mechanism, CK_BYTE *parameter, CK_ULONG parameterSize, CK_ULONG key,
	CK_BYTE *data, CK_ULONG dataSize, CK_BYTE *signature, CK_ULONG signatureSize)
{
	CK_MECHANISM m = {mechanism, parameter, parameterSize};
	kms11_outcome o = {library->functions->C_VerifyInit(session, &m, key), 0, 0};
	if (o.rv != CKR_OK)
		return o;
	o.begun = 1;
	o.rv = library->functions->C_Verify(session, bytes(data), dataSize, bytes(signature), signatureSize);
	return o;
}

kms11_outcome kms11_wrap(kms11_library *library, CK_ULONG session,
	CK_ULONG mechanism, CK_BYTE *parameter, CK_ULONG parameterSize, CK_ULONG wrapping, CK_ULONG key,
	CK_BYTE *out, CK_ULONG outSize)
{
	CK_MECHANISM m = {mechanism, parameter, parameterSize};
	kms11_outcome o = {CKR_OK, outSize, 1};
	o.rv = library->functions->C_WrapKey(session, &m, wrapping, key, out, &o.result);
	if (o.rv == CKR_BUFFER_TOO_SMALL)
		o.result = larger(outSize, o.result);
	return o;
}

kms11_outcome kms11_create(kms11_library *library, CK_ULONG session, CK_ULONG *list, CK_ULONG count)
{
	kms11_outcome o = {CKR_OK, 0, 1};
	o.rv = library->functions->C_CreateObject(session, (CK_ATTRIBUTE *)list, count, &o.result);
	return o;
}

kms11_outcome kms11_encapsulate(kms11_library *library, CK_ULONG session, CK_ULONG mechanism, CK_ULONG key,
	CK_ULONG *list, CK_ULONG count, CK_BYTE *out, CK_ULONG outSize, CK_ULONG *secret)
{
	CK_MECHANISM m = {mechanism, NULL, 0};
	kms11_outcome o = {CKR_FUNCTION_NOT_SUPPORTED, outSize, 1};
	if (library->functions32)
		o.rv = library->functions32->C_EncapsulateKey(session, &m, key, (CK_ATTRIBUTE *)list, count, out, &o.result, secret);
	return o;
}

kms11_outcome kms11_decapsulate(kms11_library *library, CK_ULONG session, CK_ULONG mechanism, CK_ULONG key,
	CK_ULONG *list, CK_ULONG count, CK_BYTE *in, CK_ULONG inSize)
{
	CK_MECHANISM m = {mechanism, NULL, 0};
	kms11_outcome o = {CKR_FUNCTION_NOT_SUPPORTED, 0, 1};
	if (library->functions32)
		o.rv = library->functions32->C_DecapsulateKey(session, &m, key, (CK_ATTRIBUTE *)list, count, bytes(in), inSize, &o.result);
	return o;
}

CK_ULONG kms11_attributes(kms11_library *library, CK_ULONG session, CK_ULONG object, CK_ULONG *list, CK_ULONG count)
{
	return library->functions->C_GetAttributeValue(session, object, (CK_ATTRIBUTE *)list, count);
}

CK_ULONG kms11_random(kms11_library *library, CK_ULONG session, CK_BYTE *out, CK_ULONG size)
{
	return library->functions->C_GenerateRandom(session, out, size);
}

CK_ULONG kms11_login(kms11_library *library, CK_ULONG session, CK_ULONG user, CK_BYTE *pin, CK_ULONG size)
{
	return library->functions->C_Login(session, user, pin, size);
}
